import html
import json
import math
import re
import struct
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("starlette", reason="the explorer is an extra")
pytest.importorskip("httpx2", reason="starlette's test client needs it")

from inmem.engine.codec import decode_value, encode_value
from inmem.invisible import is_seen
from inmem.json_values import from_json
from inmem.ui.values import literal, name, one_line, plain_name, pretty, preview, visible
from tests.ui.site import Page

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | texts | st.binary()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner))


@given(value=values)
@example(
    value=["\x00", "\u202e", "'\"\\", b"\x00\xff'\"", -0.0, math.nan, -math.inf, 2**63 - 1, {"": {}}, [], 1.0, True]
)
def test_a_literal_is_the_value_and_shows_nothing_invisible(value):
    text = "".join(literal(value))
    assert encode_value(from_json(json.loads(text))) == encode_value(value)
    assert all(is_seen(char) or unicodedata.category(char) == "Zs" or char == "\ufe0f" for char in text)


@given(value=values, chars_max=st.integers(1, 400))
def test_a_preview_is_the_beginning_of_the_literal(value, chars_max):
    whole = "".join(literal(value))
    shown = Page(preview(value, chars_max)).text
    assert len(shown) <= chars_max
    assert shown == whole or (shown.endswith("…") and whole.startswith(shown[:-1]))


@given(value=values, chars_max=st.integers(0, 2000))
def test_pretty_is_markup_of_ours_around_text_and_says_whether_it_is_cut(value, chars_max):
    shown, is_whole = pretty(value, chars_max)
    Page(shown)
    assert is_whole or "…" in shown
    everything, _ = pretty(value, 10**9)
    assert not is_whole or shown == everything


@pytest.mark.parametrize(
    "value", ["x" * 5_000_000, [1] * 500_000, {str(at): at for at in range(200_000)}, b"x" * 5_000_000]
)
def test_what_is_shown_of_a_huge_value_is_small(value):
    assert len(preview(value)) < 2_000
    shown, is_whole = pretty(value)
    assert not is_whole
    assert len(shown) < 200_000


@given(text=texts)
def test_visible_text_is_harmless_and_nothing_of_it_is_lost(text):
    shown = visible(text)
    assert all(is_seen(char) or unicodedata.category(char) == "Zs" or char == "\ufe0f" for char in Page(shown).text)
    restored = re.sub(
        r'<span class="esc">(.*?)</span>', lambda match: match[1].encode().decode("unicode_escape"), shown
    )
    assert html.unescape(restored) == text


def test_what_is_invisible_is_marked():
    assert visible("a\x00b") == 'a<span class="esc">\\x00</span>b'
    assert visible("\u202e") == '<span class="esc">\\u202e</span>'
    assert visible("<b>&\"'") == "&lt;b&gt;&amp;&#34;&#39;"
    assert visible("a\nb\t👩\u200d🚀", lines=True) == "a\nb\t👩\u200d🚀"
    assert visible("\r\x1b[2J", lines=True) == '<span class="esc">\\r</span><span class="esc">\\x1b</span>[2J'


def test_blank_names_can_be_seen():
    assert name("") == '<span class="quoted">&#34;&#34;</span>'
    assert name("  ") == '<span class="quoted">&#34;  &#34;</span>'
    assert name("abcdef", 4) == "abc…"
    assert one_line("a\n  b\tc", 10) == "a b c"
    assert one_line("abcdef\n" * 10, 4) == "abc…"


# Names of which a browser would show some alike, were they shown as they are.
ALIKE = [
    "a b",
    " a b",
    "a b ",
    " a b ",
    "a  b",
    "a   b",
    "a\u00a0b",
    "a\u2003b",
    "a\tb",
    "a\nb",
    "a \u00a0b",
    "\u00a0a b",
]


def test_names_that_differ_in_spaces_only_look_different():
    assert name(" lead") == '<span class="quoted">&#34; lead&#34;</span>'
    assert name("a  <b>") == '<span class="quoted">&#34;a  &lt;b&gt;&#34;</span>'
    assert name("a\u00a0b") == '<span class="quoted">&#34;a<span class="esc">\\xa0</span>b&#34;</span>'
    assert name("a b") == "a b"
    assert name(" " * 500, 60) == '<span class="quoted">&#34;' + " " * 59 + "…&#34;</span>"
    for shown in (name, plain_name):
        assert len({str(shown(text)) for text in ALIKE}) == len(ALIKE)
    pieces, _ = pretty(dict.fromkeys(ALIKE, 1))
    assert all(str(name(text)) in pieces for text in ALIKE)


# One of each range of invisible.py, and what looks like the escape of one.
UNSEEN = "\xad\u034f\u061c\u115f\u17b4\u180f\u200b\u202e\u2060\u2800\u3164\ufe0f\ufeff\uffa0\U0001d159\U000e0101"


@pytest.mark.parametrize("char", UNSEEN)
def test_what_python_calls_printable_and_nobody_can_see_is_an_escape(char):
    escape_of = char.encode("unicode_escape").decode()
    marked = f'<span class="esc">{escape_of}</span>'
    assert visible(f"a{char}") == f"a{marked}"
    assert name(f"a{char}") == f'<span class="quoted">&#34;a{marked}&#34;</span>'
    assert plain_name(f"a{char}") == f'"a{escape_of}"'
    assert preview([f"a{char}"]) == f"[&#34;a{json.dumps(char)[1:-1]}&#34;]"
    assert pretty({f"a{char}": 1})[0].count(marked) == 1


def test_the_form_of_an_emoji_stays_in_values_and_is_an_escape_in_names():
    assert preview("I \u2764\ufe0f it\ufe0f") == '"I \u2764\ufe0f it\\ufe0f"'.replace('"', "&#34;")
    assert one_line("\u26a0\ufe0f full", 20) == visible("\u26a0\ufe0f full") == "\u26a0\ufe0f full"
    assert preview("\ufe0f\u2800\ufe0f") == "&#34;\\ufe0f\\u2800\\ufe0f&#34;"
    assert plain_name("\u2764\ufe0f") == '"\u2764\\ufe0f"'
    assert visible("1\ufe0f\u20e3 a\ufe0e", lines=True) == "1\ufe0f\u20e3 a\ufe0e"


near_names = st.text(st.sampled_from('"\\ xu202e\u202e\u3164\xa0\n…a'), max_size=12) | texts


@given(near_names, near_names)
@example(" a", '" a"')
@example("\u202e", "\\u202e")
@example("\u202e", '"\\u202e"')
@example('"', '"\\""')
@example("a\\", '"a\\"')
def test_no_two_names_are_shown_alike(one, other):
    assert (plain_name(one) == plain_name(other)) == (one == other)
    assert all(is_seen(char) for char in plain_name(one))


def test_a_name_that_can_be_seen_is_shown_as_it_is():
    for plain in ("trip-7", "C:\\runs\\1", 'say "hi"', "é🚢漢", "a b c", "'", "<b>"):
        assert plain_name(plain) == Page(str(name(plain))).text == plain


@given(text=texts, chars_max=st.integers(1, 50))
def test_a_plain_name_is_what_a_name_shows(text, chars_max):
    assert Page(str(name(text, chars_max))).text == plain_name(text, chars_max)


def test_types_look_different():
    assert [preview(value) for value in (1, 1.0, True, None, "1", b"1")] == [
        "1", "1.0", "true", "null", "&#34;1&#34;", "{&#34;$bytes&#34;: &#34;MQ==&#34;}",
    ]  # fmt: skip
    assert preview(struct.unpack(">d", bytes.fromhex("8000000000000000"))[0]) == "-0.0"
    assert preview(decode_value(encode_value((1, 2)))) == "[1, 2]"
