"""Making spans storable: what an application puts into them is not bound by what a store can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from inmem.engine.codec import encode_value
from inmem.engine.errors import InvalidValueError
from inmem.engine.limits import INT_MAX, INT_MIN

if TYPE_CHECKING:
    from inmem.otlp.spans import SpanRecord

_CONTENTS: Final = ("attributes", "events", "links")


def storable(record: dict[str, Any]) -> SpanRecord:
    """Return a span's record, without what the application put into it if that is too large or nested too deeply."""
    try:
        encode_value(record, "span")
    except InvalidValueError as error:
        record = {name: value for name, value in record.items() if name not in _CONTENTS} | {"refused": str(error)}
    return cast("SpanRecord", record)


def storable_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return attributes with values that can be stored: numbers beyond 64 bits, and whatever is unknown, as text."""
    return {storable_text(key): _value(value) for key, value in (attributes or {}).items()}


def storable_text(text: str) -> str:
    """Return the text with lone surrogates, which no encoding has, escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _value(value: Any) -> Any:
    if value is None or isinstance(value, (bool, float, bytes)):
        return value
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, int):
        return value if INT_MIN <= value <= INT_MAX else str(value)
    if isinstance(value, Mapping):
        return storable_attributes(cast("Mapping[str, Any]", value))
    if isinstance(value, Sequence):
        return [_value(part) for part in cast("list[Any]", value)]
    return storable_text(str(value))
