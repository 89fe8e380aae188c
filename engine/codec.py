"""The one form in which values are stored: msgpack, narrowed so that every value has exactly one encoding.

Source of the format: the msgpack specification, https://github.com/msgpack/msgpack/blob/master/spec.md. Used are
nil, bool, float 64, and of int (within signed 64 bits), str, bin, array and map the shortest form that does; map
keys are distinct strings in the dict's own order. Extension types and float 32 are never written.
"""

# msgpack comes without types, and a value is of no known type before it has been checked.
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
"""What is read back. Tuples are accepted on the way in and come back as lists."""

_FLAT_DICT_ITEMS_MAX: Final = 8

_packb: Final = cast("Callable[[object], bytes]", msgpack.packb)
_unpackb: Final = cast("Callable[..., Any]", msgpack.unpackb)


class MalformedValueError(CorruptionError, ValueError):
    """Stored bytes are not what was ever stored: intact by their checksums, so somebody else has written them."""

    def __init__(self, reason: str) -> None:
        super().__init__("a stored value", 0, reason)


class Encoded(Struct, frozen=True):
    """A value that `encode_value` has already encoded, accepted wherever a value is and stored as it is."""

    data: bytes

    def __repr__(self) -> str:
        return f"Encoded({len(self.data)} bytes)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show no more to rich, which structlog shows tracebacks with and which does not ask for the repr."""
        return [("size_bytes", len(self.data))]


def encode_value(value: object, where: str = "value", bytes_max: int = VALUE_BYTES_MAX) -> bytes:
    """Return the one encoding of `value`; `decode_value` gives back an equal value, types included.

    A container is copied before it is checked, so what was checked is what is encoded, even if another thread
    changes it meanwhile. Neither deep nor cyclic values can exhaust the interpreter's stack.

    Args:
        value: None, bool, int of signed 64 bits, float, str, bytes, list, tuple, dict with str keys, or Encoded.
            Instances of subclasses are refused: they would come back as something else.
        where: what the caller calls the value; error paths start with it.
        bytes_max: largest encoding accepted.

    Raises:
        InvalidValueError: the value cannot be stored; the error names the place inside it.

    Complexity: O(encoded size), in time and in memory. Shared parts count once for every place they appear in.
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
        # To msgspec each level of nesting is a call. msgpack, slower, does with the stack that is left.
        try:
            data = _packb(part)
        except UnicodeEncodeError as error:
            raise InvalidValueError(place_of(error.object, part, where), "str has a lone surrogate") from None
    if len(data) > bytes_max:
        raise too_large(where, bytes_max)
    return data


def decode_value(data: bytes) -> Value:
    """Return a fresh value from bytes that `encode_value` made, as a checksum has shown.

    This is the hot path: it refuses what msgpack itself refuses, and extension types. Of bytes that somebody else has
    made it lets pass numbers that are not in their shortest form, and takes the last of equal dict keys.

    Raises:
        MalformedValueError: truncated, trailing bytes, bad UTF-8, map keys that are numbers, nesting beyond
            msgpack's own limit, extension types.

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
    """Return a copy of a small dict that plainly holds scalars and nothing else, or None to have it looked at closely.

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
        # One by one: not every type can be hashed, nor even compared.
        elif kind is not str and kind is not float and kind is not bool and item is not None and kind is not bytes:
            return None
    return copy
