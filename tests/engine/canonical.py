"""An independent check of encoded values, byte by byte, without building them, to test the codec against."""

from enum import Enum, auto
from struct import Struct
from typing import Final

from inmem.engine.codec import MalformedValueError
from inmem.engine.limits import INT_MAX, INT_MIN, VALUE_BYTES_MAX, VALUE_DEPTH_MAX


class _Kind(Enum):
    SCALAR = auto()
    STR = auto()
    BIN = auto()
    ARRAY = auto()
    MAP = auto()


_HEADS: Final[dict[int, tuple[_Kind, Struct, int, int]]] = {
    # First byte: the kind, the number that follows, and the range of numbers for which no shorter form exists.
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
    """Raise unless `encode_value` could have made `data`, so that decoding and encoding again gives the same bytes.

    Reads the bytes once without building the value. Lengths in the data are not trusted until the bytes are there.

    Raises:
        MalformedValueError: the data is malformed; the message names the byte offset.

    Complexity: O(len(data)) time; memory for the keys of the dicts open at one point, at most 64 dicts.
    """
    size = len(data)
    if size > bytes_max:
        raise MalformedValueError(f"{size} bytes, more than the {bytes_max} a value may have")
    offset = 0
    # `left` is how many items of the current container are still to come (keys and values of a dict each count), and
    # `keys` holds the keys seen if it is a dict. `around` holds the same for the enclosing containers.
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
    """Return the kind at `offset`, its number of bytes or items, and the offset of these. Scalars are skipped."""
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
