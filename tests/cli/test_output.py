"""Showing stored values."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from inmem.cli.output import Column, as_json, counted, moment, one_line, printable, size, table

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(value=values)
def test_every_value_has_strict_json(value):
    json.loads(json.dumps(as_json(value), allow_nan=False))


@given(value=values)
def test_every_value_has_one_harmless_line(value):
    line = one_line(value)

    assert len(line.splitlines()) <= 1
    assert "\x1b" not in line


@given(text=st.text())
def test_printable_text_is_left_alone_and_the_rest_escaped(text):
    shown = printable(text)

    assert printable(shown) == shown
    assert not text.isprintable() or shown == text


def test_a_long_value_is_cut():
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
    assert moment(1_700_000_000_123_456) == "2023-11-14 22:13:20.123"


@pytest.mark.parametrize(
    ("width", "headers"),
    [(46, ["NAME", "ERROR", "WHEN", "TAGS"]), (45, ["NAME", "ERROR", "WHEN"]), (35, ["NAME", "ERROR"])],
)
def test_columns_that_have_no_room_go(width, headers):
    columns = (
        Column("NAME"),
        Column("ERROR", is_cut=True),
        Column("WHEN", is_optional=True),
        Column("TAGS", is_cut=True, is_optional=True),
    )
    made = table(columns, [("n" * 12, Text("e" * 40), "w" * 12, "t" * 40)], width)

    assert [column.header for column in made.columns] == headers
