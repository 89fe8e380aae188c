"""A JSON reader that works piece by piece and reports the place of each error."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.recorder.place import Place

_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\n\r]*")


def decode_utf8(data: bytes, place: Place) -> str:
    """Return the text of UTF-8 bytes.

    Raises:
        TranscriptError: the bytes are not UTF-8; the error names the first invalid byte.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise place.at(f"byte {error.start}").error("not UTF-8 text") from None


def read_value(text: str, place: Place) -> Any:
    """Return the single JSON value in `text`.

    Raises:
        TranscriptError: `text` is not JSON; the error names line and column, or only the column if `place` is a line.
    """
    value, end = _value_at(text, skip_blank(text, 0), place)
    _expect_end(text, end, place)
    return value


def read_items(text: str, start: int, place: Place) -> Iterator[tuple[int, Any, str]]:
    """Yield (index, value, source text) for each item of the JSON list that begins at `start`, as it is read.

    Raises:
        TranscriptError: the text is not JSON; the items before the error have been yielded.
    """
    at = skip_blank(text, start + 1)
    if text[at : at + 1] == "]":
        _expect_end(text, at + 1, place)
        return
    index = 0
    while True:
        value, end = _value_at(text, at, place)
        yield index, value, text[at:end]
        at = skip_blank(text, end)
        mark = text[at : at + 1]
        if mark == "]":
            _expect_end(text, at + 1, place)
            return
        if mark != ",":
            raise _located(text, at, place).error('expected "," or "]"')
        at = skip_blank(text, at + 1)
        index += 1


def skip_blank(text: str, at: int) -> int:
    """Return the position of the first character from `at` on that is not JSON whitespace."""
    found = _BLANK.match(text, at)
    return at if found is None else found.end()


def _value_at(text: str, at: int, place: Place) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        # Python's message without its position, as the place is reported in our own form.
        raise _located(text, error.pos, place).error(f"not JSON: {error.msg}") from None
    except RecursionError:
        raise _located(text, at, place).error("nested too deeply") from None
    except ValueError as error:
        # An integer with thousands of digits.
        raise _located(text, at, place).error(str(error)) from None


def _expect_end(text: str, at: int, place: Place) -> None:
    at = skip_blank(text, at)
    if at < len(text):
        raise _located(text, at, place).error("not JSON: more text behind the end")


def _located(text: str, at: int, place: Place) -> Place:
    column = at - text.rfind("\n", 0, at)
    if place.where:
        return place.at(f"column {column}")
    return place.at(f"line {text.count(chr(10), 0, at) + 1}, column {column}")
