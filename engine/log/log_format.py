"""The byte layout of a log segment: its header and its frames.

A segment is a 64-byte header followed by frames without gaps, little-endian throughout.

    header                                      frame header (32 bytes, the payload follows)
     0  8  magic b"INMEMWAL"                     0  2  magic d5 f7
     8  2  format, 2                             2  1  kind: 1 COMMIT, 2 CLOSE, 3 MARK
    10  2  header size, 64                       3  1  flags, 0
    12  4  CRC-32 of all other header bytes      4  4  payload length
    16  8  segment number                        8  8  version
    24  8  salt, random per opening             16  8  synced: bytes of this segment known to be durable
    32  8  base version                         24  4  CRC-32 of the payload
    40  8  previous end                         28  4  CRC-32 of the 28 bytes before
    48  8  previous version
    56  8  created at, microseconds

Both checksums of a frame continue the CRC-32 of the segment number and salt (the segment's seed), so bytes written by
another opening of the database, or to another segment, never pass for a frame. `previous end` is the number of bytes of
the previous segment that count; anything after them is void. The frames carry the versions base version + 1, + 2, ...

A COMMIT carries a commit. A MARK carries only its `synced`: it is written when everything before it has become durable
and no other frame follows at once, so that a frame vouches for the newest commits too. A CLOSE is the last frame of a
segment that was closed cleanly. Format 1 had no MARK frames, and no MANIFEST beside the segments; it is still read.

engine/log/frame_reader.py defines where reading stops, and when that means damage. docs/log-format.md is the complete
description, including what a writer must make durable in which order.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import IntEnum
from struct import Struct
from typing import Final, cast
from zlib import crc32

from inmem.engine.errors import CorruptionError, InvariantError
from inmem.engine.limits import FRAME_BYTES_MAX
from inmem.engine.log.file_header import HEADER_BYTES, decode_header, encode_header, header_checksum_holds

SEGMENT_MAGIC: Final = b"INMEMWAL"
SEGMENT_FORMAT: Final = 2
SEGMENT_FORMATS: Final = (1, SEGMENT_FORMAT)
"""The formats that are read; the last one is the one that is written."""
FRAME_MAGIC: Final = 0xF7D5
FRAME_MAGIC_BYTES: Final = FRAME_MAGIC.to_bytes(2, "little")
FRAME_HEADER: Final = Struct("<HBBIQQII")
"""The fields of a frame header, in the order of the module docstring."""
FRAME_HEADER_BYTES: Final = FRAME_HEADER.size

_CHECKSUM = Struct("<I")
_FRAME_FACTS = Struct("<HBBIQQI")
"""A frame header without its own checksum."""
FRAME_FACTS_BYTES: Final = _FRAME_FACTS.size
FRAME_KIND_AT: Final = 2
"""The offset of the kind in a frame header."""

_SALT = Struct("<Q")
_SALT_AT = 24
_SEED = Struct("<QQ")


class FrameKind(IntEnum):
    """The kind of a frame."""

    COMMIT = 1
    CLOSE = 2
    MARK = 3


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The facts at the start of a segment.

    Attributes:
        number: the segment's number, from 1.
        salt: random number of the opening that wrote the segment.
        base_version: the frames carry the versions base_version + 1, + 2, ...
        previous_end: bytes of the previous segment that count, 0 if there is no previous one.
        previous_version: last version of the previous segment, 0 if there is none. Less than base_version only
            after a restart that had to skip versions.
        created_at_us: microseconds since the epoch.
        format: the format in which the segment is written.
    """

    number: int
    salt: int
    base_version: int
    previous_end: int
    previous_version: int
    created_at_us: int
    format: int = SEGMENT_FORMAT

    @property
    def seed(self) -> int:
        """The CRC-32 of number and salt, encoded as in the header. The checksums of the frames continue it."""
        return segment_seed(self.number, self.salt)

    def encode(self) -> bytes:
        """Return the first 64 bytes of the segment."""
        *facts, file_format = astuple(self)
        return encode_header(SEGMENT_MAGIC, file_format, tuple(facts))

    @classmethod
    def decode(cls, data: bytes, path: str, *, is_last: bool) -> SegmentHeader | None:
        """Return the header of a segment, or None if its creation was interrupted.

        Only the creation of the last segment can have been interrupted: the writer makes the header durable before
        anything else.

        Args:
            data: the segment's first 65 bytes, or all of it if it is shorter.
            path: the segment's path, for messages.
            is_last: whether this is the last segment, and nothing proves that its header was ever durable.

        Raises:
            FormatVersionError: the file is not a segment, or has a newer format.
            CorruptionError: the header is damaged.
        """
        if is_last and _is_torn_header(data):
            return None
        file_format, facts = decode_header(data, path, SEGMENT_MAGIC, SEGMENT_FORMATS)
        header = cls(*facts, file_format)
        if header.base_version < header.previous_version:
            raise CorruptionError(path, 32, "the base version lies below the previous segment's last version")
        return header


def segment_seed(number: int, salt: int) -> int:
    """Return the value that the checksums of a segment's frames continue."""
    return crc32(_SEED.pack(number, salt))


def salt_in(data: bytes) -> int:
    """Return the salt in the header with which `data` begins, whether or not the header is damaged."""
    return cast("int", _SALT.unpack_from(data, _SALT_AT)[0])


def _is_torn_header(data: bytes) -> bool:
    """Return whether `data` can be a segment that holds only a header that never became durable."""
    if len(data) > HEADER_BYTES:
        return False
    # Bytes that were never written read as zeros. With other bytes in place of the magic it is not one of our files.
    if any(byte not in {0, expected} for byte, expected in zip(data, SEGMENT_MAGIC, strict=False)):
        return False
    return len(data) < HEADER_BYTES or not header_checksum_holds(data)


def encode_frame(kind: FrameKind, version: int, synced: int, payload: bytes, seed: int) -> bytes:
    """Return one frame.

    Args:
        kind: the frame's kind. CLOSE and MARK have an empty payload and repeat the last version.
        version: the version of the commit.
        synced: bytes of this segment known to be durable now; 0 is always valid.
        payload: an encoded CommitRecord.
        seed: the seed from the segment's header.

    Raises:
        InvariantError: the payload is longer than readers accept.
    """
    if len(payload) > FRAME_BYTES_MAX:
        raise InvariantError(f"a payload of {len(payload)} bytes, readers accept {FRAME_BYTES_MAX}")
    facts = _FRAME_FACTS.pack(FRAME_MAGIC, kind, 0, len(payload), version, synced, crc32(payload, seed))
    return b"".join((facts, _CHECKSUM.pack(crc32(facts, seed)), payload))
