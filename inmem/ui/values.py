"""Display of stored values as text, faithfully, whatever they hold.

Values are written as JSON, as on the command line; json_values.py describes how bytes and numbers that JSON cannot
express are written. So 1, 1.0, true, "1" and the byte 1 look different. One rule applies to all text: a character that
is invisible, or that would move its surroundings, is shown as its escape. This covers control characters, NUL,
bidirectional marks, zero-width spaces, and everything else that invisible.py names. In values, the variation selector
that turns the symbol before it into an emoji is kept, and so is the joiner between two emoji: their escapes would only
clutter the emoji.

Names have their own rule, which keeps them distinguishable: see shown_name.py.

    preview     one line, cut after some characters
    pretty      nested lists as HTML, cut after some characters
    literal     the whole value, as JSON that `json_values.from_json` reads back as the same value
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup, escape

from inmem import shown_name
from inmem.invisible import EMOJI_FORM, SUSPECT, escape_of, printable_json, shows_in_value
from inmem.json_values import is_list, is_marked, is_object, to_json
from inmem.shown_name import in_quotes, is_plain, shows_in_name

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator

PREVIEW_CHARS_MAX: Final = 240
"""More than a line of a wide window."""

PRETTY_CHARS_MAX: Final = 20_000
"""Few enough that a browser shows many such values without a pause; the whole value is one link away."""

_ITEM_CHARS: Final = 20
"""Characters counted for the markup of each list or dict item, in addition to the item's own."""

_LINE_CHARS_MAX: Final = 100
"""Text longer than this, or with several lines, is shown as a block."""

_CHUNK_CHARS: Final = 65_536
"""Literals are written in chunks, so a value of megabytes is never held in memory twice."""

_OF_TEXT: Final = f"\n\t\u200c\u200d\ufe0e{EMOJI_FORM}"
"""Line breaks, tabs, and characters that join, separate or style letters and emoji: in names they only deceive."""


def visible(text: str, *, lines: bool = False) -> Markup:
    """Return the text with every invisible character as a marked escape. O(len(text)).

    Args:
        text: any text.
        lines: whether to keep line breaks, tabs and joiners, as in text for reading.
    """
    return _marked(text, _shows_in_text if lines else shows_in_value)


def name(text: str, chars_max: int | None = None) -> Markup:
    """Return a name such that invisible characters never make two names look alike, unless they are cut.

    Args:
        text: the name.
        chars_max: the length to which it is cut.
    """
    cut = _cut(text, chars_max)
    if is_plain(cut):
        return escape(cut)
    return Markup('<span class="quoted">{}</span>').format(_marked(in_quotes(cut), shows_in_name))


def plain_name(text: str, chars_max: int | None = None) -> str:
    """Return the same as `name` without markup, for titles and options."""
    return shown_name.plain_name(_cut(text, chars_max))


def one_line(text: str, chars_max: int) -> Markup:
    """Return the beginning of a text on one line, with line breaks as spaces."""
    return visible(_cut(" ".join(text[: 2 * chars_max].split()), chars_max))


def preview(value: Any, chars_max: int = PREVIEW_CHARS_MAX) -> Markup:
    """Return the beginning of a value on one line. O(chars_max), whatever the size of the value."""
    shown: list[str] = []
    left = chars_max
    for piece in _pieces(value, chars_max):
        shown.append(piece)
        left -= len(piece)
        if left < 0:
            break
    text = "".join(shown)
    # The pieces are already JSON-escaped; only HTML escaping is left.
    return escape(text if left >= 0 else f"{text[: chars_max - 1]}…")


def literal(value: Any) -> Iterator[str]:
    """Yield the whole value as JSON, in chunks of about 64 KB."""
    chunk: list[str] = []
    size = 0
    for piece in _pieces(value, None):
        chunk.append(piece)
        size += len(piece)
        if size >= _CHUNK_CHARS:
            yield "".join(chunk)
            chunk, size = [], 0
    yield "".join(chunk)


def pretty(value: Any, chars_max: int = PRETTY_CHARS_MAX) -> tuple[Markup, bool]:
    """Return a value as nested lists, and whether it is complete. O(chars_max), whatever the size of the value."""
    writer = _Pretty(chars_max)
    writer.write(value)
    return Markup("".join(writer.parts)), not writer.is_cut  # noqa: S704  every part is escaped or markup of ours


def _cut(text: str, chars_max: int | None) -> str:
    return text if chars_max is None or len(text) <= chars_max else f"{text[: chars_max - 1]}…"


def _shows_in_text(match: re.Match[str]) -> bool:
    return match[0] in _OF_TEXT or shows_in_value(match)


def _marked(text: str, shows: Callable[[re.Match[str]], bool]) -> Markup:
    """Return the text with every character for which `shows` is false as a marked escape."""

    def marked(match: re.Match[str]) -> str:
        return match[0] if shows(match) else f'<span class="esc">{escape_of(match[0])}</span>'

    return Markup(SUSPECT.sub(marked, str(escape(text))))  # noqa: S704  escaped before anything is marked


def _quoted(text: str) -> str:
    """Return the text as a JSON string."""
    return printable_json(json.dumps(text, ensure_ascii=False))


def _scalar(value: Any, chars_max: int | None) -> str:
    if isinstance(value, str):
        return _quoted(value[:chars_max])
    if isinstance(value, bytes):
        value = value[:chars_max]
    return json.dumps(to_json(value))


def _pieces(value: Any, chars_max: int | None) -> Iterator[str]:
    """Yield a value as JSON in parts; cut text and bytes to `chars_max`, if given. Recursive, as no value is deep."""
    if is_object(value):
        if is_marked(value):
            # Without this wrapper, a dict with a single key that begins with `$` would read back as another value.
            yield '{"$dict": '
        yield "{"
        for at, (key, item) in enumerate(value.items()):
            yield f"{', ' if at else ''}{_scalar(key, chars_max)}: "
            yield from _pieces(item, chars_max)
        yield "}}" if is_marked(value) else "}"
    elif is_list(value):
        yield "["
        for at, item in enumerate(value):
            if at:
                yield ", "
            yield from _pieces(item, chars_max)
        yield "]"
    else:
        yield _scalar(value, chars_max)


class _Pretty:
    """A writer of nested lists that stops after a number of characters."""

    def __init__(self, chars_max: int) -> None:
        self.parts: list[str] = []
        self.is_cut = False
        self._left = chars_max

    def write(self, value: Any) -> None:
        """Write one value."""
        if is_object(value) and value:
            self._write_items("ul", "dict", value.items())
        elif is_list(value) and value:
            self._write_items("ol", "list", ((None, item) for item in value))
        elif isinstance(value, str):
            self._write_text(value)
        else:
            text = _scalar(value, self._left + 1)
            name = "bytes" if isinstance(value, bytes) else "scalar"
            self.parts.append(f'<code class="{name}">{escape(self._cut(text))}</code>')

    def _write_items(self, element: str, css_class: str, items: Iterable[tuple[str | None, Any]]) -> None:
        self.parts.append(f'<{element} class="{css_class}">')
        for key, item in items:
            if self._left <= 0:
                self.is_cut = True
                self.parts.append('<li class="cut">…</li>')
                break
            self._left -= _ITEM_CHARS
            self.parts.append("<li>")
            if key is not None:
                self.parts.append(f'<span class="key">{name(self._cut(key))}</span> ')
            self.write(item)
            self.parts.append("</li>")
        self.parts.append(f"</{element}>")

    def _write_text(self, text: str) -> None:
        cut = self._cut(text)
        if "\n" in cut or len(cut) > _LINE_CHARS_MAX:
            self.parts.append(f'<pre class="text">\n{visible(cut, lines=True)}</pre>')
        else:
            self.parts.append(f'<code class="str">{escape(_quoted(cut))}</code>')

    def _cut(self, text: str) -> str:
        if len(text) > self._left:
            self.is_cut = True
            text = f"{text[: max(self._left, 0)]}…"
        self._left -= len(text)
        return text
