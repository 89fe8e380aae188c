"""Reading the frames of a segment, and the rules by which a damaged one is told from an interrupted one.

At the first invalid frame, at offset o, reading stops:

1. the next segment, or the MANIFEST of a database that was closed, says that bytes past o count → damage;
2. the header of a later frame is intact and says that bytes past o were durable when it was written → damage;
3. neither → a torn tail, which nobody was promised; nothing at all, if only zeros follow: they are room that the writer
   had claimed ahead.

The writer may be at work meanwhile, and what was read as an interrupted frame be whole a moment later. So rule 2 counts
only where the frame at o is still invalid when it is read after the one that says so: that one was written later.

Segments are read through a window, so that memory does not grow with them.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

import msgspec

from inmem.engine.errors import CorruptionError
from inmem.engine.limits import FRAME_BYTES_MAX
from inmem.engine.log.file_header import HEADER_BYTES
from inmem.engine.log.log_format import FRAME_HEADER_BYTES, FRAME_MAGIC, FrameKind

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from inmem.engine.log.log_format import SegmentHeader
    from inmem.engine.ports import ReadFile

WINDOW_BYTES: Final = 1024 * 1024
"""Read with one call, unless a frame is longer: few calls, and little memory."""

_COMMIT: Final = int(FrameKind.COMMIT)
_CLOSE: Final = int(FrameKind.CLOSE)
_KINDS: Final = {1: frozenset({_COMMIT, _CLOSE}), 2: frozenset(map(int, FrameKind))}
"""By format of the segment."""
_MAGIC_BYTES: Final = FRAME_MAGIC.to_bytes(2, "little")
_FRAME_HEADER = Struct("<HBBIQQII")


class Frame(msgspec.Struct, frozen=True):
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
    """

    __slots__ = ("_file", "_valid_end", "end", "header", "is_closed", "last", "path", "synced", "torn", "version")

    def __init__(
        self, file: ReadFile, header: SegmentHeader, path: str, valid_end: int | None, start: int, version: int
    ) -> None:
        self._file: Final = file
        self._valid_end: Final = valid_end
        self.header: Final = header
        self.path: Final = path
        self.end = start
        self.last = 0
        self.version = version
        self.is_closed = False
        self.synced = HEADER_BYTES
        self.torn: TornTail | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames. Memory: WINDOW_BYTES, or the longest frame.

        Raises:
            CorruptionError: by rule 1 or 2 of the module, data that counted is damaged.
        """
        suspect = -1
        while True:
            reason = yield from self._valid_frames()
            if self._valid_end is not None:
                if self.end != self._valid_end:
                    missing = f"of {self._valid_end} bytes that count no more are there"
                    raise CorruptionError(self.path, self.end, reason or missing)
                return
            later = self._judge_tail(reason) if reason else None
            if later is None:
                return
            if suspect == self.end:
                raise CorruptionError(
                    self.path, suspect, f"{reason}, yet the frame at {later.offset} followed once it was durable"
                )
            suspect = self.end

    def _valid_frames(self) -> Generator[Frame, None, str]:
        """Yield the frames from `end` on; return what is wrong with the first invalid one, "" if there is none."""
        read_at = self._file.read_at
        valid_end = self._valid_end
        limit = self._file.size if valid_end is None else min(self._file.size, valid_end)
        seed = self.header.seed
        unpack_header = _FRAME_HEADER.unpack_from
        offset = self.end
        # The bytes of [window_at, window_end) are in `window`.
        window, window_at, window_end = b"", 0, 0
        while offset < limit:
            payload_at = offset + FRAME_HEADER_BYTES
            if payload_at > limit:
                return "the segment ends within a frame header"
            if payload_at > window_end:
                window_end = min(limit, offset + WINDOW_BYTES)
                window, window_at = read_at(offset, window_end - offset), offset
            at = offset - window_at
            magic, kind, flags, length, new_version, synced, payload_crc, header_crc = unpack_header(window, at)
            if crc32(window[at : at + FRAME_HEADER_BYTES - 4], seed) != header_crc:
                return "the frame header does not match its checksum"
            end = payload_at + length
            if end > limit:
                return "the segment ends within the frame"
            reason = self._fault(offset, magic, kind, flags, length, new_version, synced)
            if reason:
                return reason
            if end > window_end:
                window_end = min(limit, max(end, offset + WINDOW_BYTES))
                window, window_at = read_at(offset, window_end - offset), offset
            payload = window[payload_at - window_at : end - window_at]
            if crc32(payload, seed) != payload_crc:
                return "the payload does not match its checksum"
            # A frame counts before its taker sees it, so that a taker may stop at any.
            self.version = new_version
            self.is_closed = kind == _CLOSE
            self.last = offset
            self.end = end
            self.synced = synced
            yield Frame(offset, kind, new_version, payload)
            offset = end
        return ""

    def _fault(self, offset: int, magic: int, kind: int, flags: int, length: int, new_version: int, synced: int) -> str:
        """Return what is wrong with an intact header in this place, or nothing."""
        if magic != FRAME_MAGIC or flags or length > FRAME_BYTES_MAX or kind not in _KINDS[self.header.format]:
            return "the frame is of an unknown kind"
        if synced > offset:
            return f"the frame takes {synced} bytes before it for durable"
        if self.is_closed:
            return "a frame follows the close"
        is_commit = kind == _COMMIT
        if new_version != self.version + is_commit or (length and not is_commit):
            return f"version {new_version} follows version {self.version}"
        return ""

    def _judge_tail(self, reason: str) -> FrameHeader | None:
        """Apply rules 2 and 3 to what begins with an invalid frame at `end`.

        Return the frame that proves that it counted, or set `torn` unless there is nothing.
        """
        end = self.end
        if is_blank(self._file, end):
            return None
        for header in intact_frame_headers(self._file, end + 1, self._file.size, self.header.seed):
            if header.synced > end:
                return header
        self.torn = TornTail(end, self._file.size - end, reason)
        return None


def read_frames(
    file: ReadFile,
    header: SegmentHeader,
    path: str,
    valid_end: int | None,
    *,
    start: int = HEADER_BYTES,
    version: int | None = None,
) -> FrameReader:
    """Return a reader of the segment's frames.

    Args:
        file: the segment, header included.
        header: decoded from it.
        path: for messages.
        valid_end: where the segment is known to end, by the next one or by the MANIFEST; None if nothing says so.
        start: where the frame begins that is the first to be read.
        version: of the frame before that one; None for the segment's first one.
    """
    return FrameReader(file, header, path, valid_end, start, header.base_version if version is None else version)


def is_blank(file: ReadFile, start: int) -> bool:
    """Return whether nothing but zeros follows: room that was claimed ahead, and never written to. O(bytes)."""
    return all(
        not file.read_at(at, min(WINDOW_BYTES, file.size - at)).strip(b"\x00")
        for at in range(start, file.size, WINDOW_BYTES)
    )


class FrameHeader(NamedTuple):
    """What an intact frame header says; the payload behind it may be missing or damaged."""

    offset: int
    kind: int
    length: int
    version: int
    synced: int
    payload_crc: int


def intact_frame_headers(file: ReadFile, start: int, end: int, seed: int) -> Iterator[FrameHeader]:
    """Yield every frame header in [start, end) whose magic and checksum hold, wherever it stands.

    A header that was written says what was durable before it, whatever became of its payload.
    """
    window_at = start
    while window_at + FRAME_HEADER_BYTES <= end:
        window = file.read_at(window_at, min(WINDOW_BYTES, end - window_at))
        last = len(window) - FRAME_HEADER_BYTES
        at = window.find(_MAGIC_BYTES)
        while 0 <= at <= last:
            _, kind, flags, length, version, synced, payload_crc, header_crc = _FRAME_HEADER.unpack_from(window, at)
            if not flags and crc32(window[at : at + FRAME_HEADER_BYTES - 4], seed) == header_crc:
                yield FrameHeader(window_at + at, kind, length, version, synced, payload_crc)
            at = window.find(_MAGIC_BYTES, at + 1)
        # The next window begins with the first place of which this one has not seen 32 bytes.
        window_at += last + 1
