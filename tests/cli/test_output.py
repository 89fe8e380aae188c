"""Showing stored values."""

import contextlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from inmem.amounts import counted, size
from inmem.cli.output import one_line, print_json, print_json_list, show
from inmem.cli.tables import Column, show_rows, table
from inmem.invisible import is_seen, printable

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(value=values)
def test_every_value_has_one_harmless_line(value):
    line = one_line(value)

    assert len(line.splitlines()) <= 1
    assert "\x1b" not in line


def printed(show_it, *arguments):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        show_it(*arguments)
    return out.getvalue()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(items=st.lists(json_values, max_size=4))
def test_a_list_that_is_printed_item_by_item_is_the_same_document(items):
    assert printed(print_json_list, iter(items)) == printed(print_json, items)


texts = (st.text() | st.just("x" * 600)).map(printable)


@given(rows=st.lists(st.tuples(texts, texts, texts), max_size=4))
def test_a_table_that_is_printed_row_by_row_is_the_same_table(rows):
    columns = (Column("#", justify="right"), Column("TYPE", "fold"), Column("PAYLOAD", "cut"))
    beginnings = (row[:-1] for row in rows)
    assert printed(show_rows, columns, iter(rows), beginnings) == printed(lambda: show(table(columns, rows)))


@given(text=st.text())
def test_printable_text_is_left_alone_and_the_rest_escaped(text):
    shown = printable(text)

    assert printable(shown) == shown
    assert not all(map(is_seen, text)) or shown == text


# Python calls the first seven printable: fillers, a blank that is no space, joiners, variation selectors.
@pytest.mark.parametrize("char", [*"\u115f\u3164\u2800\u034f\u17b4\ufe00\U000e0100", *"\x1b\u200d\u202e"])
def test_a_character_that_nobody_sees_is_an_escape_in_text_and_in_json(char):
    escape = char.encode("unicode_escape").decode()
    assert printable(f"a{char}b") == one_line(f"a{char}b") == f"a{escape}b"
    shown = printed(print_json, {"k": f"a{char}b"})
    assert json.dumps(char)[1:-1] in shown
    assert json.loads(shown) == {"k": f"a{char}b"}


def test_what_is_seen_stays_as_it_is():
    for text in ("日本\u3000語 é", "❤\ufe0f ✓"):
        assert printable(text) == text
        assert f'"{text}"' in printed(print_json, [text])
    assert printable("a\ufe0f") == "a\\ufe0f"


@pytest.mark.parametrize("emoji", ["👨\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈", "👩🏽\u200d🚀", "👩\u200d⚕\ufe0f"])
def test_the_parts_of_an_emoji_are_kept(emoji):
    assert one_line(f"a {emoji}!") == f"a {emoji}!"
    assert emoji in printed(print_json, emoji)


def test_what_joins_emoji_is_an_escape_elsewhere():
    assert printable("\u200da\u200d❤\u200d") == r"\u200da\u200d❤\u200d"
    assert printable("❤\u200d\u2800\ufe0f\u200d❤") == r"❤\u200d\u2800\ufe0f\u200d❤"


def test_a_long_value_is_cut_for_a_terminal_only(on_terminal):
    assert one_line("x" * 1000, 10) == "x" * 1000
    on_terminal(80)
    assert one_line("x" * 1000, 10) == "x" * 9 + "…"


def test_amounts():
    assert [counted(number, "run") for number in (0, 1, 1200)] == ["0 runs", "1 run", "1,200 runs"]
    assert [size(count) for count in (0, 999, 1000, 1_250_000, 5 * 10**9, 10**13)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "1.2 MB",
        "5.0 GB",
        "10000.0 GB",
    ]


COLUMNS = (Column("NAME", "fold"), Column("ERROR", "cut"), Column("STATUS"), Column("SIZE", justify="right"))
ROWS = [("n" * 20, Text("e" * 40), "Completed", "1,234"), ("m" * 30, "", "Failed", "5")]


def drawn(width, columns=COLUMNS, rows=ROWS):
    target = Console(width=width, file=io.StringIO())
    target.print(table(columns, rows, width))
    return [line.rstrip() for line in target.file.getvalue().splitlines()]


def test_a_table_that_fits_is_as_wide_as_its_texts():
    assert drawn(200) == [
        f"{'NAME':30}  {'ERROR':40}  STATUS      SIZE",
        f"{'n' * 20:30}  {'e' * 40}  Completed  1,234",
        f"{'m' * 30}  {'':40}  Failed         5",
    ]


def test_texts_give_way_from_the_last_column_on():
    assert drawn(67) == [
        f"{'NAME':30}  {'ERROR':17}  STATUS      SIZE",
        f"{'n' * 20:30}  {'e' * 16}…  Completed  1,234",
        f"{'m' * 30}  {'':17}  Failed         5",
    ]
    assert drawn(48) == [
        f"{'NAME':20}  {'ERROR':8}  STATUS      SIZE",
        f"{'n' * 20}  {'e' * 7}…  Completed  1,234",
        f"{'m' * 20}  {'':8}  Failed         5",
        "m" * 10,
    ]


def test_where_columns_have_no_room_rows_become_blocks():
    assert drawn(39) == [
        f"NAME    {'n' * 20}",
        f"ERROR   {'e' * 31}",
        f"        {'e' * 9}",
        "STATUS  Completed",
        "SIZE    1,234",
        "",
        f"NAME    {'m' * 30}",
        "ERROR",
        "STATUS  Failed",
        "SIZE    5",
    ]


MOVABLE = (Column("NAME", "fold"), Column("ERROR", "below"), Column("SIZE", justify="right"), Column("TAGS", "below"))
LATE = [("n" * 20, "", "1,234", "a b"), ("m" * 30, Text("e" * 40), "5", "c")]


def test_as_few_columns_as_possible_move_below_their_rows():
    assert drawn(85, MOVABLE, LATE) == [
        f"{'NAME':30}  {'ERROR':40}   SIZE  TAGS",
        f"{'n' * 20:30}  {'':40}  1,234  a b",
        f"{'m' * 30}  {'e' * 40}      5  c",
    ]
    # Where one is enough, the narrowest that is; else the widest.
    assert drawn(84, MOVABLE, LATE) == [
        f"{'NAME':30}  {'ERROR':40}   SIZE",
        f"{'n' * 20:30}  {'':40}  1,234",
        "  TAGS  a b",
        f"{'m' * 30}  {'e' * 40}      5",
        "  TAGS  c",
    ]
    assert drawn(78, MOVABLE, LATE) == [
        f"{'NAME':30}   SIZE  TAGS",
        f"{'n' * 20:30}  1,234  a b",
        f"{'m' * 30}      5  c",
        f"  ERROR  {'e' * 40}",
    ]


def test_what_stands_below_is_folded_and_begins_in_one_column():
    assert drawn(37, MOVABLE, LATE) == [
        f"{'NAME':30}   SIZE",
        f"{'n' * 20:30}  1,234",
        "  TAGS   a b",
        f"{'m' * 30}      5",
        f"  ERROR  {'e' * 28}",
        f"         {'e' * 12}",
        "  TAGS   c",
    ]


def test_a_column_without_texts_is_the_first_to_go_and_takes_no_line():
    assert drawn(42, MOVABLE, [("n" * 30, "", "5", "a b")]) == [f"{'NAME':30}  SIZE  TAGS", f"{'n' * 30}     5  a b"]
    assert drawn(41, MOVABLE, [("n" * 30, "", "5", "a b")])[2:] == ["  TAGS  a b"]
    assert drawn(12, MOVABLE, [("n", "", "5", "a b")]) == ["NAME  n", "SIZE  5", "TAGS  a b"]
