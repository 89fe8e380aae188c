"""Reduction of spans that are too large or too deep for the store: as much as possible is kept.

The attributes that decide the span's run and kind are dropped last: without them, the span would end up in the wrong
place.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from inmem.engine.codec import encode_value
from inmem.engine.errors import InvalidValueError
from inmem.otlp.conventions import DECIDING
from inmem.otlp.spans import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from inmem.otlp.spans import SpanRecord

T = TypeVar("T")

_Piece: TypeAlias = "tuple[str, str | int]"
"""An attribute by its name, an event or a link by its position."""

_LISTS: Final = ("events", "links")
_PLACE: Final = frozenset(
    {"trace_id", "span_id", "parent_span_id", "is_parent_remote", "kind", "start_time_unix_nano", "end_time_unix_nano"}
)

_TEXT_CHARS_MAX: Final = 100
"""The length of a name and a reason in an outline: enough to recognize them, and a few hundred bytes at most."""


def fitted(record: dict[str, Any]) -> SpanRecord:
    """Return a span's record, reduced as far as needed to be stored."""

    def checked(form: SpanRecord) -> SpanRecord:
        # Encoded as in the metadata of its trace, which adds one level of nesting.
        encode_value({METADATA_KEY: form}, "metadata")
        return form

    return store_fitted(cast("SpanRecord", record), checked)


def store_fitted(span: SpanRecord, store: Callable[[SpanRecord], T]) -> T:
    """Return the result of `store` for a span, reduced as far as needed; a reduced span says why in `refused`.

    Attributes, events and links are dropped first, the largest before the others, twice as many each time.

    Raises:
        InvalidValueError: not even the name and the times can be stored, as with a limit of less than a kilobyte.

    Complexity: O(size · log(attributes, events and links)).
    """
    try:
        return store(span)
    except InvalidValueError as error:
        refusal = error
    for form in _smaller(span, refusal):
        try:
            return store(form)
        except InvalidValueError:
            continue
    return store(_outline(span, refusal.reason, ()))


def _smaller(span: SpanRecord, refusal: InvalidValueError) -> Iterator[SpanRecord]:
    """Yield smaller and smaller versions of a span."""
    others, deciding = _pieces(span)
    pieces = others + deciding
    powers = {1 << exponent for exponent in range(len(pieces).bit_length())}
    for count in sorted(powers | {len(others), len(pieces)}):
        yield cast("SpanRecord", _without(span, frozenset(pieces[:count])) | {"refused": str(refusal)})
    yield _outline(span, refusal.reason, DECIDING)


def _pieces(span: SpanRecord) -> tuple[list[_Piece], list[_Piece]]:
    """Return the pieces that can be dropped one by one, largest first: those not in `DECIDING`, and those in it."""
    sizes: dict[_Piece, float] = {
        ("attributes", name): _size(part) for name, part in span.get("attributes", {}).items()
    }
    for name in _LISTS:
        sizes |= {(name, at): _size(part) for at, part in enumerate(cast("list[Any]", span.get(name, [])))}
    found: list[_Piece] = sorted(sizes, key=sizes.__getitem__, reverse=True)
    return [each for each in found if each[1] not in DECIDING], [each for each in found if each[1] in DECIDING]


def _size(value: object) -> float:
    try:
        return len(encode_value(value))
    except InvalidValueError:
        return math.inf


def _without(span: SpanRecord, pieces: frozenset[_Piece]) -> dict[str, Any]:
    kept: dict[str, Any] = {**span}
    if "attributes" in kept:
        kept["attributes"] = {
            name: part for name, part in kept["attributes"].items() if ("attributes", name) not in pieces
        }
    for name in _LISTS:
        if name in kept:
            kept[name] = [part for at, part in enumerate(kept[name]) if (name, at) not in pieces]
    return {name: part for name, part in kept.items() if part or name not in ("attributes", *_LISTS)}


def _outline(span: SpanRecord, reason: str, deciding: Iterable[str]) -> SpanRecord:
    """Return only a span's ids, times, name and status code, and those `deciding` attributes that are short."""
    kept: dict[str, Any] = {name: value for name, value in span.items() if name in _PLACE}
    kept |= {"name": span["name"][:_TEXT_CHARS_MAX], "refused": reason[:_TEXT_CHARS_MAX]}
    code = span.get("status", {}).get("code")
    if code is not None:
        kept["status"] = {"code": code}
    described: tuple[tuple[str, dict[str, Any]], ...] = (
        ("attributes", span.get("attributes", {})),
        ("resource", span.get("resource", {}).get("attributes", {})),
    )
    for place, attributes in described:
        short = {
            name: attributes[name]
            for name in deciding
            if isinstance(attributes.get(name), str) and len(attributes[name]) <= _TEXT_CHARS_MAX
        }
        if short:
            kept[place] = short if place == "attributes" else {"attributes": short}
    return cast("SpanRecord", kept)
