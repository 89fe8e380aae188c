"""Making what is in spans storable: what an application puts into them is not bound by what a store can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from inmem.engine.codec import encode_value
from inmem.engine.errors import InvalidValueError
from inmem.engine.limits import INT_MAX, INT_MIN, VALUE_DEPTH_MAX


def is_storable(value: object) -> bool:
    """Return whether a value can be stored. O(its size)."""
    try:
        encode_value(value)
    except InvalidValueError:
        return False
    return True


def storable_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return attributes with values that can be stored: numbers beyond 64 bits, and whatever is unknown, as text."""
    return _mapping(attributes or {}, 0)


def storable_value(value: object) -> Any:
    """Return the value of an attribute as `storable_attributes` does. What is too deep or too large remains so."""
    return _value(value, 0)


def storable_text(text: object) -> str:
    """Return the text with lone surrogates, which no encoding has, escaped; and whatever is none as text."""
    if type(text) is str and text.isascii():
        return text
    # A subclass of str, such as an enumeration's, may have a text of its own to show, but it is its value that counts.
    plain = text if isinstance(text, str) else str(text)
    return plain.encode("utf-8", "backslashreplace").decode()


def storable_time(time: object) -> int:
    """Return a time in nanoseconds that fits into 64 bits; 0 for what is none."""
    if isinstance(time, float) and math.isfinite(time):
        time = int(time)
    return min(max(0, int(time)), INT_MAX) if isinstance(time, int) else 0


def _mapping(values: Mapping[str, Any], depth: int) -> dict[str, Any]:
    return {storable_text(key): _value(value, depth) for key, value in values.items()}


def _value(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    # Subclasses, such as enumerations and the numbers of numpy, become what they are subclasses of.
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, int):
        return int(value) if INT_MIN <= value <= INT_MAX else _digits(value)
    if not isinstance(value, str) and isinstance(value, (Mapping, Sequence)):
        if depth > VALUE_DEPTH_MAX:
            # It will be refused as too deep, whatever is below; going on could exhaust the stack.
            return cast("Any", value)
        if isinstance(value, Mapping):
            return _mapping(cast("Mapping[str, Any]", value), depth + 1)
        return [_value(part, depth + 1) for part in cast("list[Any]", value)]
    return storable_text(cast("object", value))


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:
        # Python writes no more than some thousands of decimal digits, as that takes quadratic time.
        return hex(number)
