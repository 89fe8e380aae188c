"""The byte layout of a log segment, and the rules by which a damaged one is told from an interrupted one.

A segment is a header of 64 bytes and frames without gaps between them, little-endian throughout.

    header                                      frame header (32 bytes, the payload follows)
     0  8  magic b"INMEMWAL"                     0  2  magic d5 f7
     8  2  format, 1                             2  1  kind: 1 COMMIT, 2 CLOSE
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

At the first invalid frame, at offset o, reading stops:

1. the next segment says that bytes past o count → damage;
2. the header of a later frame is intact and says that bytes past o were durable when it was written → damage;
3. neither → a torn tail, which nobody was promised.

docs/log-format.md has the whole of it, with what a writer must make durable in which order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from inmem.engine.errors import CorruptionError, InvariantError
from inmem.engine.file_header import HEADER_BYTES, decode_header, encode_header, header_checksum_holds
from inmem.engine.limits import FRAME_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

SEGMENT_MAGIC: Final = b"INMEMWAL"
SEGMENT_FORMAT: Final = 1
FRAME_HEADER_BYTES: Final = 32

_CHECKSUM = Struct("<I")
_SEED = Struct("<QQ")
_FRAME_MAGIC: Final = 0xF7D5
_FRAME_MAGIC_BYTES: Final = _FRAME_MAGIC.to_bytes(2, "little")
_FRAME_FACTS = Struct("<HBBIQQI")
_FRAME_HEADER = Struct("<HBBIQQII")


class FrameKind(IntEnum):
    """What a frame is for."""

    COMMIT = 1
    CLOSE = 2


_COMMIT: Final = int(FrameKind.COMMIT)
_CLOSE: Final = int(FrameKind.CLOSE)


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
    """

    number: int
    salt: int
    base_version: int
    previous_end: int
    previous_version: int
    created_at_us: int

    @property
    def seed(self) -> int:
        """What the checksums of the frames continue: the CRC-32 of number and salt, as they stand in the header."""
        return crc32(_SEED.pack(self.number, self.salt))

    def encode(self) -> bytes:
        """Return the 64 bytes with which the segment begins."""
        return encode_header(
            SEGMENT_MAGIC,
            SEGMENT_FORMAT,
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
        """Return the header of the segment file `data`, or None if its creation was interrupted.

        Only the last segment can have been interrupted: its writer makes the header durable before anything else.

        Raises:
            FormatVersionError: not a segment, or one of a newer format.
            CorruptionError: the header is damaged.
        """
        if is_last and _is_torn_header(data):
            return None
        header = cls(*decode_header(data, path, SEGMENT_MAGIC, SEGMENT_FORMAT))
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
        kind: COMMIT, or CLOSE, whose payload is empty and whose version is the last one.
        version: of the commit.
        synced: bytes of this segment known to be durable now; 0 is always true.
        payload: an encoded CommitRecord.
        seed: of the segment's header.

    Raises:
        InvariantError: the payload is longer than a reader accepts.
    """
    if len(payload) > FRAME_BYTES_MAX:
        raise InvariantError(f"a payload of {len(payload)} bytes, readers accept {FRAME_BYTES_MAX}")
    facts = _FRAME_FACTS.pack(_FRAME_MAGIC, kind, 0, len(payload), version, synced, crc32(payload, seed))
    return b"".join((facts, _CHECKSUM.pack(crc32(facts, seed)), payload))


class Frame(NamedTuple):
    """One frame that was read; `offset` is where it begins in its segment."""

    offset: int
    kind: int
    version: int
    payload: bytes


class TornTail(NamedTuple):
    """Bytes at the end of a segment that no caller was promised: `size` of them from `offset` on, and why."""

    offset: int
    size: int
    reason: str


class FrameReader:
    """The valid frames of one segment, in order. Iterate once; then the attributes tell how it ended.

    Attributes:
        header: of the segment.
        path: of the segment, for messages.
        end: bytes of the segment that count, as far as it was read.
        version: of the last frame, or the header's base version.
        is_closed: the last frame is a CLOSE.
        synced: bytes of the segment that were durable when the last frame was written.
        torn: what lies behind `end`, if anything does.
        last: where the last frame begins, 0 if there is none.
        base: where the data that it reads begins in the segment.
    """

    __slots__ = (
        "_data",
        "_valid_end",
        "base",
        "end",
        "header",
        "is_closed",
        "last",
        "path",
        "synced",
        "torn",
        "version",
    )

    def __init__(
        self, data: bytes, header: SegmentHeader, path: str, valid_end: int | None, base: int, version: int
    ) -> None:
        self._data: Final = data
        self._valid_end: Final = valid_end
        self.base: Final = base
        self.header: Final = header
        self.path: Final = path
        self.end = max(base, HEADER_BYTES)
        self.last = 0
        self.version = version
        self.is_closed = False
        self.synced = HEADER_BYTES
        self.torn: TornTail | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames. O(1) memory beside the segment itself.

        Raises:
            CorruptionError: by rule 1 or 2 of the module, data that counted is damaged.
        """
        # Offsets in here are those in `data`, which begins at `base` of the segment.
        data, base, valid_end = self._data, self.base, self._valid_end
        limit = len(data) if valid_end is None else min(len(data), valid_end - base)
        seed = self.header.seed
        unpack_header = _FRAME_HEADER.unpack_from
        offset = self.end - base
        version = self.version
        reason = ""
        while offset < limit:
            payload_at = offset + FRAME_HEADER_BYTES
            if payload_at > limit:
                reason = "the segment ends within a frame header"
                break
            magic, kind, flags, length, new_version, synced, payload_crc, header_crc = unpack_header(data, offset)
            if crc32(data[offset : payload_at - 4], seed) != header_crc:
                reason = "the frame header does not match its checksum"
                break
            end = payload_at + length
            if end > limit:
                reason = "the segment ends within the frame"
                break
            payload = data[payload_at:end]
            if crc32(payload, seed) != payload_crc:
                reason = "the payload does not match its checksum"
                break
            is_close = kind == _CLOSE
            if magic != _FRAME_MAGIC or flags or length > FRAME_BYTES_MAX or (kind != _COMMIT and not is_close):
                reason = "the frame is of an unknown kind"
                break
            if synced > base + offset:
                reason = f"the frame takes {synced} bytes before it for durable"
                break
            if self.is_closed:
                reason = "a frame follows the close"
                break
            if new_version != (version if is_close else version + 1) or (is_close and length):
                reason = f"version {new_version} follows version {version}"
                break
            # A frame counts before its taker sees it, so that a taker may stop at any.
            self.version = version = new_version
            self.is_closed = is_close
            self.last = base + offset
            self.end = base + end
            self.synced = synced
            yield Frame(self.last, kind, new_version, payload)
            offset = end
        if valid_end is None:
            if reason:
                self.torn = self._judge_tail(reason)
        elif self.end != valid_end:
            raise CorruptionError(self.path, self.end, reason or f"of {valid_end} bytes that count no more are there")

    def _judge_tail(self, reason: str) -> TornTail:
        """Apply rules 2 and 3 to what begins with an invalid frame at `end`."""
        data = self._data
        base = self.base
        end = self.end
        seed = self.header.seed
        last = len(data) - FRAME_HEADER_BYTES
        at = data.find(_FRAME_MAGIC_BYTES, end - base + 1)
        while 0 <= at <= last:
            *_, synced, _, header_crc = _FRAME_HEADER.unpack_from(data, at)
            # The payload may be missing: a header that was written says what was durable before it.
            if synced > end and crc32(data[at : at + FRAME_HEADER_BYTES - 4], seed) == header_crc:
                followed = f"the frame at {base + at} followed once it was durable"
                raise CorruptionError(self.path, end, f"{reason}, yet {followed}")
            at = data.find(_FRAME_MAGIC_BYTES, at + 1)
        return TornTail(end, base + len(data) - end, reason)


def read_frames(
    data: bytes, header: SegmentHeader, path: str, valid_end: int | None, *, base: int = 0, version: int | None = None
) -> FrameReader:
    """Return a reader of the segment's frames.

    Args:
        data: the segment from `base` on, which is all of it unless something else is said.
        header: of the segment.
        path: for messages.
        valid_end: `previous_end` of the next segment, or None if there is no next one.
        base: where the frame begins that is the first to be read; 0 for the segment's first one.
        version: of the frame before that one; None for the segment's first one.
    """
    return FrameReader(data, header, path, valid_end, base, header.base_version if version is None else version)
