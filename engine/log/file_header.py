"""The 64 bytes that begin every file of a database: what it is, its format, six numbers, under one checksum.

     0  8  magic
     8  2  format
    10  2  header size, 64
    12  4  CRC-32 of all other header bytes
    16 48  six unsigned 64-bit numbers, whose meaning the kind of file decides

Little-endian throughout. A later format may change everything but the first 16 bytes and where they stand.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, cast
from zlib import crc32

from inmem.engine.errors import CorruptionError, FormatVersionError

HEADER_BYTES: Final = 64
HEADER_BYTES_MAX: Final = 2**16 - 1
"""Of any later format: what the two bytes for its size can say."""

MAGIC_START: Final = b"INMEM"
"""Of each kind of file."""

_IDENTITY = Struct("<8sHH")
_CHECKSUM = Struct("<I")
_FACTS = Struct("<QQQQQQ")


def encode_header(magic: bytes, file_format: int, facts: tuple[int, int, int, int, int, int]) -> bytes:
    """Return the 64 bytes that begin a segment or a checkpoint: six unsigned numbers under a checksum."""
    identity = _IDENTITY.pack(magic, file_format, HEADER_BYTES)
    packed = _FACTS.pack(*facts)
    return b"".join((identity, _CHECKSUM.pack(crc32(packed, crc32(identity))), packed))


def decode_header(
    data: bytes, path: str, magic: bytes, formats: tuple[int, ...]
) -> tuple[int, tuple[int, int, int, int, int, int]]:
    """Return the format and the six numbers that `encode_header` put at the start of `data`.

    Raises:
        FormatVersionError: another magic or another format, and not by damage.
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
            # Everything else fits: it is ours, and those bytes were altered.
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
    """Tell whether a file that begins with `data` has an intact header of this kind, of whatever format."""
    if len(data) < HEADER_BYTES or not data.startswith(magic):
        return False
    _, _, size = _IDENTITY.unpack_from(data)
    (checksum,) = _CHECKSUM.unpack_from(data, 12)
    return 16 <= size <= len(data) and crc32(data[16:size], crc32(data[:12])) == cast("int", checksum)


def header_checksum_holds(data: bytes) -> bool:
    """Tell whether the first 64 bytes of `data`, which must be there, match the checksum in them."""
    (checksum,) = _CHECKSUM.unpack_from(data, 12)
    return crc32(data[16:HEADER_BYTES], crc32(data[:12])) == cast("int", checksum)
