"""The one form in which values are stored: msgpack, narrowed so that every value has exactly one encoding.

Source of the format: the msgpack specification, https://github.com/msgpack/msgpack/blob/master/spec.md. Used are
nil, bool, float 64, and of int (within signed 64 bits), str, bin, array and map the shortest form that does; map
keys are distinct strings in the dict's own order. Extension types and float 32 are never written.
"""

# msgpack comes without types, and a value is of no known type before it has been checked.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum, auto
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeAlias, cast

import msgpack  # type: ignore[import-untyped]

from inmem.engine.errors import CorruptionError, InvalidValueError, InvariantError
from inmem.engine.limits import INT_MAX, INT_MIN, VALUE_BYTES_MAX, VALUE_DEPTH_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | dict[str, Value] | None"
"""What is read back. Tuples are accepted on the way in and come back as lists."""

_FIXED_SIZE: Final = frozenset({type(None), bool, float})
_FLAT: Final = _FIXED_SIZE | {str, bytes}
_STORABLE: Final = (*_FIXED_SIZE, int, str, bytes, list, tuple, dict)
_FLAT_DICT_ITEMS_MAX: Final = 8
_PATH_KEY_CHARS_MAX: Final = 40

_PACKER_BYTES_MAX: Final = 128 * 1024
"""A packer never gives its buffer back, so one that grew past its first 256 KiB is not kept."""


class _Packer(Protocol):
    def pack(self, obj: object, /) -> bytes: ...


_new_packer: Final = cast("Callable[..., _Packer]", msgpack.Packer)
_unpackb: Final = cast("Callable[..., Any]", msgpack.unpackb)

_idle_packers: Final[list[_Packer]] = []
"""A packer is taken out while it works: two threads, or a finalizer that the garbage collector runs in the middle
of packing, would write into the same buffer. `list.pop` and `list.append` are atomic."""


class MalformedValueError(CorruptionError, ValueError):
    """Stored bytes are not what was ever stored: intact by their checksums, so somebody else has written them."""

    def __init__(self, reason: str) -> None:
        super().__init__("a stored value", 0, reason)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value that `encode_value` has already encoded, accepted wherever a value is and stored as it is."""

    data: bytes

    def __repr__(self) -> str:
        return f"Encoded({len(self.data)} bytes)"


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
            raise _too_large(where, bytes_max)
    elif kind is int:
        if not INT_MIN <= part <= INT_MAX:
            raise InvalidValueError(where, _INT_REASON)
    elif kind is dict or kind is list or kind is tuple:
        part = _flat_copy(part) or _checked_copy(part, where, bytes_max)
    elif kind is Encoded:
        encoded: bytes = part.data
        if len(encoded) > bytes_max:
            raise _too_large(where, bytes_max)
        return encoded
    elif kind not in _FIXED_SIZE:
        raise InvalidValueError(where, _refusal(kind))

    try:
        packer = _idle_packers.pop()
    except IndexError:
        packer = _new_packer(strict_types=True)
    try:
        data = packer.pack(part)
    except UnicodeEncodeError as error:
        raise InvalidValueError(_place_of(error.object, part, where), "str has a lone surrogate") from None
    except ValueError:
        # Lengths that msgpack cannot write are far beyond any limit of ours.
        raise _too_large(where, bytes_max) from None
    if len(data) <= _PACKER_BYTES_MAX:
        _idle_packers.append(packer)
    if len(data) > bytes_max:
        raise _too_large(where, bytes_max)
    return data


def decode_value(data: bytes) -> Value:
    """Return a fresh value from bytes that `encode_value` made, as a checksum or `check_encoded` has shown.

    This is the hot path: it refuses what msgpack itself refuses, and extension types, but lets pass what only
    `check_encoded` looks for. Use that first on bytes from elsewhere.

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


_INT_REASON: Final = "int does not fit in 64 bits"


def _flat_copy(value: Any) -> dict[str, Any] | None:
    """Return a copy of a small dict that plainly holds scalars and nothing else, or None to have it looked at closely.

    Most payloads are such dicts; for them this takes half the time of `_checked_copy`.
    """
    kind: type[Any] = type(value)
    if kind is not dict or len(value) > _FLAT_DICT_ITEMS_MAX:
        return None
    copy: dict[str, Any] = value.copy()
    for key, item in copy.items():
        kind = type(item)
        if type(key) is not str or (kind not in _FLAT and (kind is not int or not INT_MIN <= item <= INT_MAX)):
            return None
    return copy


_Frame: TypeAlias = "tuple[Any, Any, int, str | int, _Frame | None]"
# The copy, its original, its depth, and where it hangs: its key or index, and the frame of the container around it.


def _checked_copy(value: Any, where: str, bytes_max: int) -> Any:
    """Return a deep copy of a list, tuple or dict, made of lists and dicts, in which only strings are unchecked.

    Containers wait on a stack of their own, the last one first: going deep before going wide finds a cycle while
    little has been copied. `room` falls by a lower bound of the encoded size, so that a small value whose shared
    parts would encode to terabytes is refused early.
    """
    room = bytes_max - len(value)
    if room < 0:
        raise _too_large(where, bytes_max)
    root: Any = value.copy() if type(value) is dict else [*value]
    pending: list[_Frame] = [(root, value, 1, "", None)]
    while pending:
        frame = pending.pop()
        part, depth = frame[0], frame[2]
        kind: type[Any] = type(part)
        is_dict = kind is dict
        for step, item in part.items() if is_dict else enumerate(part):
            if is_dict:
                if type(step) is not str:
                    raise InvalidValueError(_path(where, frame), f"dict key must be str, not {type(step).__name__}")
                room -= len(step)
            kind = type(item)
            if kind is str or kind is bytes:
                room -= len(item)
            elif kind is int:
                if not INT_MIN <= item <= INT_MAX:
                    raise InvalidValueError(_path(where, frame, step), _INT_REASON)
            elif kind is dict or kind is list or kind is tuple:
                if depth == VALUE_DEPTH_MAX:
                    raise _too_deep(where, frame, step, item)
                room -= len(item)
                if room < 0:
                    raise _too_large(where, bytes_max)
                copy = item.copy() if kind is dict else [*item]
                part[step] = copy
                pending.append((copy, item, depth + 1, step, frame))
            elif kind not in _FIXED_SIZE:
                raise InvalidValueError(_path(where, frame, step), _refusal(kind))
    if room < 0:
        raise _too_large(where, bytes_max)
    return root


def _too_large(where: str, bytes_max: int) -> InvalidValueError:
    return InvalidValueError(where, f"larger than {bytes_max} bytes when encoded")


def _refusal(kind: type[Any]) -> str:
    name = kind.__name__
    for builtin in _STORABLE:
        if issubclass(kind, builtin):
            return f"{name} cannot be stored, only {builtin.__name__} itself"
    return f"{name} cannot be stored"


def _too_deep(where: str, frame: _Frame, step: str | int, item: Any) -> InvalidValueError:
    """Return the error for `item`, one level too deep: as a cycle, if the way down to it passed one object twice."""
    way: list[tuple[Any, str | int]] = [(item, step)]
    around: _Frame | None = frame
    while around is not None:
        way.append((around[1], around[3]))
        around = around[4]
    way.reverse()
    first_paths: dict[int, str] = {}
    path = where
    for level, (original, place) in enumerate(way):
        if level:
            path = _extended(path, place)
        if id(original) in first_paths:
            return InvalidValueError(path, f"cyclic, the same object as {first_paths[id(original)]}")
        first_paths[id(original)] = path
    return InvalidValueError(path, f"nested deeper than {VALUE_DEPTH_MAX} levels")


def _path(where: str, frame: _Frame, *steps: str | int) -> str:
    """Return the path of a frame's container, or of the entry `steps` in it."""
    way = [*steps]
    around = frame
    while around[4] is not None:
        way.insert(0, around[3])
        around = around[4]
    path = where
    for step in way:
        path = _extended(path, step)
    return path


def _extended(path: str, step: str | int) -> str:
    if isinstance(step, int):
        return f"{path}[{step}]"
    if len(step) > _PATH_KEY_CHARS_MAX:
        step = step[:_PATH_KEY_CHARS_MAX] + "…"
    # A lone surrogate is shown escaped: a message that cannot be printed helps nobody.
    shown = json.dumps(step, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    return f"{path}[{shown}]"


def _place_of(text: str, value: Any, where: str) -> str:
    """Return the path at which `value`, of plain lists and dicts, has the string `text`, as an item or as a key."""
    pending: list[tuple[str, Any]] = [(where, value)]
    while pending:
        path, part = pending.pop()
        kind: type[Any] = type(part)
        if kind is str:
            if part == text:
                return path
        elif kind is dict:
            if text in part:
                return _extended(path, text)
            pending.extend((_extended(path, key), item) for key, item in part.items())
        elif kind is list:
            pending.extend((_extended(path, index), item) for index, item in enumerate(part))
    raise InvariantError("the string that msgpack refused is not in the value")


class _Kind(Enum):
    SCALAR = auto()
    STR = auto()
    BIN = auto()
    ARRAY = auto()
    MAP = auto()


_HEADS: Final[dict[int, tuple[_Kind, Struct, int, int]]] = {
    # First byte: what it opens, the number that follows, and the range in which no shorter form would do.
    0xC4: (_Kind.BIN, Struct(">B"), 0, 2**8 - 1),
    0xC5: (_Kind.BIN, Struct(">H"), 2**8, 2**16 - 1),
    0xC6: (_Kind.BIN, Struct(">I"), 2**16, 2**32 - 1),
    0xCC: (_Kind.SCALAR, Struct(">B"), 2**7, 2**8 - 1),
    0xCD: (_Kind.SCALAR, Struct(">H"), 2**8, 2**16 - 1),
    0xCE: (_Kind.SCALAR, Struct(">I"), 2**16, 2**32 - 1),
    0xCF: (_Kind.SCALAR, Struct(">Q"), 2**32, INT_MAX),
    0xD0: (_Kind.SCALAR, Struct(">b"), -(2**7), -(2**5) - 1),
    0xD1: (_Kind.SCALAR, Struct(">h"), -(2**15), -(2**7) - 1),
    0xD2: (_Kind.SCALAR, Struct(">i"), -(2**31), -(2**15) - 1),
    0xD3: (_Kind.SCALAR, Struct(">q"), INT_MIN, -(2**31) - 1),
    0xD9: (_Kind.STR, Struct(">B"), 2**5, 2**8 - 1),
    0xDA: (_Kind.STR, Struct(">H"), 2**8, 2**16 - 1),
    0xDB: (_Kind.STR, Struct(">I"), 2**16, 2**32 - 1),
    0xDC: (_Kind.ARRAY, Struct(">H"), 2**4, 2**16 - 1),
    0xDD: (_Kind.ARRAY, Struct(">I"), 2**16, 2**32 - 1),
    0xDE: (_Kind.MAP, Struct(">H"), 2**4, 2**16 - 1),
    0xDF: (_Kind.MAP, Struct(">I"), 2**16, 2**32 - 1),
}


def check_encoded(data: bytes, bytes_max: int = VALUE_BYTES_MAX) -> None:
    """Return only if `encode_value` could have made `data`, so that decoding and encoding again gives the same bytes.

    Reads the bytes once without building the value. No length found in them is believed before the bytes are there.

    Raises:
        MalformedValueError: naming the byte offset at which the data goes wrong.

    Complexity: O(len(data)) time; memory for the keys of the dicts that are open at one point, at most 64.
    """
    size = len(data)
    if size > bytes_max:
        raise MalformedValueError(f"{size} bytes, more than the {bytes_max} a value may have")
    offset = 0
    # Of the container being read: how many items are still to come (keys and values of a dict each count), and
    # the keys seen if it is a dict. `around` holds the same for the containers around it.
    left = 1
    keys: set[str] | None = None
    around: list[tuple[int, set[str] | None]] = []
    while True:
        while not left:
            if not around:
                if offset != size:
                    raise MalformedValueError(f"byte {offset}: bytes after the end of the value")
                return
            left, keys = around.pop()
        start = offset
        kind, count, offset = _read_head(data, start)
        is_key = keys is not None and left % 2 == 0
        left -= 1
        if is_key and kind is not _Kind.STR:
            raise MalformedValueError(f"byte {start}: dict key is not a str")
        if kind is _Kind.ARRAY or kind is _Kind.MAP:
            if len(around) == VALUE_DEPTH_MAX:
                raise MalformedValueError(f"byte {start}: nested deeper than {VALUE_DEPTH_MAX} levels")
            around.append((left, keys))
            if kind is _Kind.MAP:
                left, keys = 2 * count, set()
            else:
                left, keys = count, None
        elif kind is not _Kind.SCALAR:
            content = data[offset : offset + count]
            if len(content) < count:
                raise MalformedValueError(f"byte {start}: {count} bytes announced, {len(content)} are there")
            offset += count
            if kind is _Kind.STR:
                try:
                    text = content.decode()
                except UnicodeDecodeError as error:
                    raise MalformedValueError(f"byte {start}: str is not UTF-8") from error
                if is_key and keys is not None:
                    if text in keys:
                        raise MalformedValueError(f"byte {start}: dict key occurs twice")
                    keys.add(text)


def _read_head(data: bytes, offset: int) -> tuple[_Kind, int, int]:
    """Return what starts at `offset`, how many bytes or items it holds, and where those start. Scalars are skipped."""
    if offset == len(data):
        raise MalformedValueError(f"byte {offset}: the value is cut off")
    first = data[offset]
    start = offset + 1
    if first < 0x80 or first >= 0xE0 or first in {0xC0, 0xC2, 0xC3}:
        return _Kind.SCALAR, 0, start
    if first < 0x90:
        return _Kind.MAP, first & 0x0F, start
    if first < 0xA0:
        return _Kind.ARRAY, first & 0x0F, start
    if first < 0xC0:
        return _Kind.STR, first & 0x1F, start
    if first == 0xCB:
        kind, end, count = _Kind.SCALAR, start + 8, 0
    elif first in _HEADS:
        kind, number, low, high = _HEADS[first]
        end = start + number.size
        if end <= len(data):
            (count,) = number.unpack_from(data, start)
            if not low <= count <= high:
                raise MalformedValueError(f"byte {offset}: number out of range or not in its shortest form")
        else:
            count = 0
    else:
        raise MalformedValueError(f"byte {offset}: type 0x{first:02x} is never stored")
    if end > len(data):
        raise MalformedValueError(f"byte {offset}: the value is cut off")
    return kind, count, end
