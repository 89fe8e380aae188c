"""The byte layout of a log segment: what its header says, and how a frame is written.

A segment is a header of 64 bytes and frames without gaps between them, little-endian throughout.

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

Both checksums of a frame continue that of segment number and salt, the seed of the segment, so that bytes of another
opening, or of another segment of this one, never pass for a frame. `previous end` says how many bytes of the segment
before count; what lies behind them is void. The frames carry base version + 1, + 2, ...

A COMMIT carries a commit. A MARK carries nothing but its `synced`: it is written when everything before it has become
durable and nothing follows at once, so that the newest commits have a witness too. A CLOSE is the last frame of a
segment that was closed cleanly. Format 1 had no MARK, and no MANIFEST beside the segments; it is still read.

engine/log/frame_reader.py says where reading stops, and what is damage then; docs/log-format.md has the whole of it,
with what a writer must make durable in which order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final
from zlib import crc32

from inmem.engine.errors import CorruptionError, InvariantError
from inmem.engine.limits import FRAME_BYTES_MAX
from inmem.engine.log.file_header import HEADER_BYTES, decode_header, encode_header, header_checksum_holds

SEGMENT_MAGIC: Final = b"INMEMWAL"
SEGMENT_FORMAT: Final = 2
SEGMENT_FORMATS: Final = (1, SEGMENT_FORMAT)
"""Those that are read; the last one is written."""
FRAME_HEADER_BYTES: Final = 32
FRAME_MAGIC: Final = 0xF7D5

_CHECKSUM = Struct("<I")
_SEED = Struct("<QQ")
_FRAME_FACTS = Struct("<HBBIQQI")


class FrameKind(IntEnum):
    """What a frame is for."""

    COMMIT = 1
    CLOSE = 2
    MARK = 3


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The facts at the start of a segment.

    Attributes:
        number: of this segment, from 1.
        salt: random number of the opening that wrote the segment.
        base_version: the frames carry base_version + 1, + 2, ...
        previous_end: bytes of the previous segment that count, 0 if there is no previous one.
        previous_version: last version of the previous segment, 0 if there is none. Less than base_version only
            after a restart that had to skip versions.
        created_at_us: microseconds since the epoch.
        format: that the segment is written in.
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
        """What the checksums of the frames continue: the CRC-32 of number and salt, as they stand in the header."""
        return crc32(_SEED.pack(self.number, self.salt))

    def encode(self) -> bytes:
        """Return the 64 bytes with which the segment begins."""
        return encode_header(
            SEGMENT_MAGIC,
            self.format,
            (
                self.number,
                self.salt,
                self.base_version,
                self.previous_end,
                self.previous_version,
                self.created_at_us,
            ),
        )

    @classmethod
    def decode(cls, data: bytes, path: str, *, is_last: bool) -> SegmentHeader | None:
        """Return the header of a segment, or None if its creation was interrupted.

        Only the last segment can have been interrupted: its writer makes the header durable before anything else.

        Args:
            data: the segment's first 65 bytes, or all of it if it is shorter.
            path: for messages.
            is_last: nothing proves that the header was durable once.

        Raises:
            FormatVersionError: not a segment, or one of a newer format.
            CorruptionError: the header is damaged.
        """
        if is_last and _is_torn_header(data):
            return None
        file_format, facts = decode_header(data, path, SEGMENT_MAGIC, SEGMENT_FORMATS)
        header = cls(*facts, file_format)
        if header.base_version < header.previous_version:
            raise CorruptionError(path, 32, "the base version lies below the previous segment's last version")
        return header


def _is_torn_header(data: bytes) -> bool:
    """Tell whether `data` can be a segment whose header never became durable and which holds nothing else."""
    if len(data) > HEADER_BYTES:
        return False
    # What was never written reads as zeros; anything else is somebody else's file.
    if any(byte not in {0, expected} for byte, expected in zip(data, SEGMENT_MAGIC, strict=False)):
        return False
    return len(data) < HEADER_BYTES or not header_checksum_holds(data)


def encode_frame(kind: FrameKind, version: int, synced: int, payload: bytes, seed: int) -> bytes:
    """Return one frame.

    Args:
        kind: COMMIT, or CLOSE or MARK, whose payload is empty and whose version is the last one.
        version: of the commit.
        synced: bytes of this segment known to be durable now; 0 is always true.
        payload: an encoded CommitRecord.
        seed: of the segment's header.

    Raises:
        InvariantError: the payload is longer than a reader accepts.
    """
    if len(payload) > FRAME_BYTES_MAX:
        raise InvariantError(f"a payload of {len(payload)} bytes, readers accept {FRAME_BYTES_MAX}")
    facts = _FRAME_FACTS.pack(FRAME_MAGIC, kind, 0, len(payload), version, synced, crc32(payload, seed))
    return b"".join((facts, _CHECKSUM.pack(crc32(facts, seed)), payload))
