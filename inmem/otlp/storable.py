"""Conversion of span contents to storable values: applications may put values into spans that a store cannot hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from inmem.engine.codec import encode_value
from inmem.engine.errors import InvalidValueError
from inmem.engine.limits import INT_MAX, INT_MIN, VALUE_DEPTH_MAX


def is_storable(value: object) -> bool:
    """Return whether a value can be stored. O(size of the value)."""
    try:
        encode_value(value)
    except InvalidValueError:
        return False
    return True


def storable_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return attributes with storable values: integers beyond 64 bits and objects of unknown types become text."""
    return _mapping(attributes or {}, 0)


def storable_value(value: object) -> Any:
    """Convert one attribute value like `storable_attributes`. A value that is too deep or too large remains so."""
    return _value(value, 0)


def storable_text(text: object) -> str:
    """Return `text` as a str, with lone surrogates escaped, as UTF-8 cannot encode them."""
    if type(text) is str and text.isascii():
        return text
    # A subclass of str, such as a str enumeration, may override `__str__`, but its value is what counts.
    plain = text if isinstance(text, str) else str(text)
    return plain.encode("utf-8", "backslashreplace").decode()


def storable_time(time: object) -> int:
    """Return a time in nanoseconds that fits into 64 bits; 0 if `time` is not a number."""
    if isinstance(time, float) and math.isfinite(time):
        time = int(time)
    return min(max(0, int(time)), INT_MAX) if isinstance(time, int) else 0


def _mapping(values: Mapping[str, Any], depth: int) -> dict[str, Any]:
    return {storable_text(key): _value(value, depth) for key, value in values.items()}


def _value(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    # Instances of subclasses, such as enumerations and numpy numbers, become instances of the plain type.
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, int):
        return int(value) if INT_MIN <= value <= INT_MAX else _digits(value)
    if not isinstance(value, str) and isinstance(value, (Mapping, Sequence)):
        if depth > VALUE_DEPTH_MAX:
            # The value will be refused as too deep anyway; going deeper could exhaust the stack.
            return cast("Any", value)
        if isinstance(value, Mapping):
            return _mapping(cast("Mapping[str, Any]", value), depth + 1)
        return [_value(part, depth + 1) for part in cast("list[Any]", value)]
    return storable_text(cast("object", value))


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:
        # Python refuses to convert more than some thousands of decimal digits, as that takes quadratic time.
        return hex(number)
