"""Convert stored values and result types to JSON, and values back, without loss.

JSON has no bytes, no NaN and no infinities. They become objects with one key that begins with a dollar sign:

    {"$bytes": "<base64>"}
    {"$float": "nan"}, "inf" or "-inf"; a NaN with unusual bits: its 8 bytes, big-endian, as 16 hex digits
    {"$dict": {...}}            a user's dict that has one key, beginning with a dollar sign

A number with a point or an exponent is a float, any other an int of up to 64 bits. Hashes are written in hexadecimal.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from dataclasses import fields, is_dataclass
from struct import Struct
from typing import Any, Final, TypeGuard

_DOUBLE: Final = Struct(">d")
_FLOATS: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_NAMES: Final = {_DOUBLE.pack(value): name for name, value in _FLOATS.items()}
_HASHES: Final = frozenset({"hash", "prev_hash"})


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether a value read from JSON is an object."""
    return type(value) is dict


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Return whether a value read from JSON is a list."""
    return type(value) is list


def to_json(value: Any) -> Any:
    """Return a stored value as JSON can hold it. O(value size)."""
    if is_object(value):
        made = {key: to_json(part) for key, part in value.items()}
        return {"$dict": made} if is_marked(made) else made
    if is_list(value):
        return [to_json(part) for part in value]
    if type(value) is bytes:
        return {"$bytes": b64encode(value).decode()}
    if type(value) is float and not math.isfinite(value):
        data = _DOUBLE.pack(value)
        return {"$float": _NAMES.get(data) or data.hex()}
    return value


def from_json(value: Any) -> Any:
    """Return the value that `to_json` made `value` from.

    Raises:
        ValueError: `value` contains an object with a dollar sign that `to_json` never writes.
    """
    if is_list(value):
        return [from_json(part) for part in value]
    if not is_object(value):
        return value
    if not is_marked(value):
        return {name: from_json(part) for name, part in value.items()}
    [(mark, part)] = value.items()
    if mark == "$dict" and is_object(part) and is_marked(part):
        return {name: from_json(each) for name, each in part.items()}
    if mark == "$bytes" and isinstance(part, str):
        made: Any = b64decode(part, validate=True)
    elif mark == "$float" and isinstance(part, str):
        made = _FLOATS[part] if part in _FLOATS else _float_of(part)
    else:
        raise ValueError(f"{mark} is not followed by what belongs there")
    # Each value has only one valid form. Base64 could have other padding bits, and the digits could be an ordinary
    # number's.
    if to_json(made) != value:
        raise ValueError(f"{mark} is followed by another form than the one there is")
    return made


def result_to_json(result: Any) -> dict[str, Any]:
    """Return one of the package's result types as an object with its field names as keys. O(its size)."""
    return {field.name: _field_to_json(field.name, getattr(result, field.name)) for field in fields(result)}


def _field_to_json(name: str, value: Any) -> Any:
    if name in _HASHES:
        return value.hex()
    if is_dataclass(value):
        return result_to_json(value)
    if isinstance(value, tuple):
        parts: list[Any] = [*value]
        return [_field_to_json("", part) for part in parts]
    return to_json(value)


def is_marked(value: dict[str, Any]) -> bool:
    """Return whether an object looks like one of the forms with a dollar sign."""
    return len(value) == 1 and next(iter(value)).startswith("$")


def _float_of(digits: str) -> float:
    data = bytes.fromhex(digits)
    if len(data) != _DOUBLE.size:
        raise ValueError("$float is not followed by 16 hexadecimal digits")
    value: float = _DOUBLE.unpack(data)[0]
    return value
