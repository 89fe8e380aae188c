"""The 64-byte header of every file of a database: its kind, its format and six numbers, with one checksum.

     0  8  magic
     8  2  format
    10  2  header size, 64
    12  4  CRC-32 of all other header bytes
    16 48  six unsigned 64-bit numbers, whose meaning depends on the kind of file

Little-endian throughout. A later format may change everything but the layout of the first 16 bytes.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, cast
from zlib import crc32

from inmem.engine.errors import CorruptionError, FormatVersionError

HEADER_BYTES: Final = 64
HEADER_BYTES_MAX: Final = 2**16 - 1
"""The longest header that a later format can have: the size field has two bytes."""

MAGIC_START: Final = b"INMEM"
"""The first bytes of the magic of each kind of file."""

_IDENTITY = Struct("<8sHH")
_CHECKSUM = Struct("<I")
_FACTS = Struct("<QQQQQQ")


def encode_header(magic: bytes, file_format: int, facts: tuple[int, int, int, int, int, int]) -> bytes:
    """Return the 64-byte header of a file: six unsigned numbers with a checksum."""
    identity = _IDENTITY.pack(magic, file_format, HEADER_BYTES)
    packed = _FACTS.pack(*facts)
    return b"".join((identity, _CHECKSUM.pack(crc32(packed, crc32(identity))), packed))


def decode_header(
    data: bytes, path: str, magic: bytes, formats: tuple[int, ...]
) -> tuple[int, tuple[int, int, int, int, int, int]]:
    """Return the format and the six numbers from the header at the start of `data`.

    Raises:
        FormatVersionError: the magic or the format is a different one, and not because of damage.
        CorruptionError: the header is incomplete or damaged.
    """
    if len(data) >= HEADER_BYTES:
        _, file_format, size = _IDENTITY.unpack_from(data)
        if data.startswith(magic) and file_format in formats:
            if size != HEADER_BYTES or not header_checksum_holds(data):
                raise CorruptionError(path, 0, "the header does not match its checksum")
            return file_format, cast("tuple[int, int, int, int, int, int]", _FACTS.unpack_from(data, 16))
        for known in formats:
            identity = _IDENTITY.pack(magic, known, HEADER_BYTES)
            # All other bytes match the checksum: this is one of our files, and its identity bytes were altered.
            if header_checksum_holds(identity + data[len(identity) :]):
                at = next(at for at, byte in enumerate(identity) if byte != data[at])
                raise CorruptionError(path, at, "the header does not match its checksum")
    if not data.startswith(magic[: len(data)]):
        raise FormatVersionError(path, f"it does not begin with {magic.decode()}")
    if len(data) < HEADER_BYTES:
        raise CorruptionError(path, len(data), "the file ends within its header")
    _, file_format, _ = _IDENTITY.unpack_from(data)
    raise FormatVersionError(path, f"it has format {file_format}, this version reads {' and '.join(map(str, formats))}")


def is_intact_header(data: bytes, magic: bytes) -> bool:
    """Return whether `data` begins with an intact header of this kind of file, in any format."""
    if len(data) < HEADER_BYTES or not data.startswith(magic):
        return False
    _, _, size = _IDENTITY.unpack_from(data)
    return 16 <= size <= len(data) and header_checksum_holds(data, size)


def header_checksum_holds(data: bytes, size: int = HEADER_BYTES) -> bool:
    """Return whether the first `size` bytes of `data` match the checksum in them. `data` must not be shorter."""
    (checksum,) = _CHECKSUM.unpack_from(data, 12)
    return crc32(data[16:size], crc32(data[:12])) == cast("int", checksum)
