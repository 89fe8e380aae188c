"""The encoding of stored values: a subset of msgpack in which every value has exactly one encoding.

Source of the format: the msgpack specification, https://github.com/msgpack/msgpack/blob/master/spec.md. The subset
consists of nil, bool, float 64, and the shortest possible form of int (within signed 64 bits), str, bin, array and map;
map keys are distinct strings in the dict's own order. Extension types and float 32 are never written.
"""

# msgpack has no type annotations, and a value has no known type until it has been checked.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, cast

import msgpack  # type: ignore[import-untyped]
from msgspec import Struct

from inmem.engine.errors import CorruptionError, InvalidValueError
from inmem.engine.limits import INT_MAX, INT_MIN, VALUE_BYTES_MAX
from inmem.engine.packing import pack
from inmem.engine.value_copy import INT_REASON, checked_copy, place_of, refusal, too_large

if TYPE_CHECKING:
    from collections.abc import Callable

Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | dict[str, Value] | None"
"""The type of values read back. Tuples are accepted for writing and read back as lists."""

_FLAT_DICT_ITEMS_MAX: Final = 8

_packb: Final = cast("Callable[[object], bytes]", msgpack.packb)
_unpackb: Final = cast("Callable[..., Any]", msgpack.unpackb)


class MalformedValueError(CorruptionError, ValueError):
    """Stored bytes that `encode_value` cannot have produced: their checksums hold, so another program wrote them."""

    def __init__(self, reason: str) -> None:
        super().__init__("a stored value", 0, reason)


class Encoded(Struct, frozen=True):
    """A value already encoded by `encode_value`; accepted in place of any value, and stored unchanged."""

    data: bytes

    def __repr__(self) -> str:
        return f"Encoded({len(self.data)} bytes)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show only the size in rich as well: structlog formats tracebacks with rich, which does not use the repr."""
        return [("size_bytes", len(self.data))]


def encode_value(value: object, where: str = "value", bytes_max: int = VALUE_BYTES_MAX) -> bytes:
    """Return the encoding of `value`; `decode_value` returns an equal value, types included.

    A container is copied before it is checked, so the checked content is what is encoded, even if another thread
    changes the container at the same time. Neither deep nor cyclic values can exhaust the interpreter's stack.

    Args:
        value: None, bool, int of signed 64 bits, float, str, bytes, list, tuple, dict with str keys, or Encoded.
            Instances of subclasses are refused, because they would be read back as the built-in type.
        where: the caller's name for the value; error paths start with it.
        bytes_max: largest encoding accepted.

    Raises:
        InvalidValueError: the value cannot be stored; the error names the place inside it.

    Complexity: O(encoded size), in time and in memory. A shared part counts once for each place where it appears.
    """
    part: Any = value
    kind: type[Any] = type(part)
    if kind is str or kind is bytes:
        if len(part) > bytes_max:
            raise too_large(where, bytes_max)
    elif kind is int:
        if not INT_MIN <= part <= INT_MAX:
            raise InvalidValueError(where, INT_REASON)
    elif kind is dict or kind is list or kind is tuple:
        part = _flat_copy(part) or checked_copy(part, where, bytes_max)
    elif kind is Encoded:
        encoded: bytes = part.data
        if len(encoded) > bytes_max:
            raise too_large(where, bytes_max)
        return encoded
    elif part is not None and kind is not bool and kind is not float:
        raise InvalidValueError(where, refusal(kind))

    try:
        data = pack(part)
    except (RecursionError, UnicodeEncodeError):
        # msgspec recurses for each level of nesting. msgpack is slower but needs less stack.
        try:
            data = _packb(part)
        except UnicodeEncodeError as error:
            raise InvalidValueError(place_of(error.object, part, where), "str has a lone surrogate") from None
    if len(data) > bytes_max:
        raise too_large(where, bytes_max)
    return data


def decode_value(data: bytes) -> Value:
    """Return a fresh value from bytes made by `encode_value` and verified by a checksum.

    This is the hot path: it refuses only what msgpack itself refuses, and extension types. In bytes made by another
    program it accepts numbers that are not in their shortest form, and of equal dict keys it uses the last.

    Raises:
        MalformedValueError: the bytes are truncated, or have trailing bytes, bad UTF-8, numbers as map keys, nesting
            beyond msgpack's own limit, or extension types.

    Complexity: O(len(data)).
    """
    try:
        value: Value = _unpackb(data, ext_hook=_refuse_extension, max_ext_len=0)
    except (ValueError, TypeError) as error:
        raise MalformedValueError(str(error) or type(error).__name__) from error
    return value


def _refuse_extension(code: int, _data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code}")


def _flat_copy(value: Any) -> dict[str, Any] | None:
    """Return a copy of a small dict of valid scalars; for anything else return None, and `checked_copy` must check it.

    Most payloads are such dicts; for them this takes half the time of `checked_copy`.
    """
    kind: type[Any] = type(value)
    if kind is not dict or len(value) > _FLAT_DICT_ITEMS_MAX:
        return None
    copy: dict[str, Any] = value.copy()
    for key, item in copy.items():
        kind = type(item)
        if type(key) is not str:
            return None
        if kind is int:
            if not INT_MIN <= item <= INT_MAX:
                return None
        # Compare types by identity, one by one: not every type can be hashed, or even compared for equality.
        elif kind is not str and kind is not float and kind is not bool and item is not None and kind is not bytes:
            return None
    return copy
