"""Reading the frames of a segment, and the rules that distinguish damage from an interrupted write.

At the first invalid frame, at offset o, reading stops:

1. the next segment, or the MANIFEST of a database that was closed, says that bytes past o count → damage;
2. the header of a later frame is intact and says that bytes past o were durable when it was written → damage;
3. neither → a torn tail, which contains nothing that was acknowledged; or, if only zeros follow, space that the writer
   allocated in advance, which is not reported.

The writer may be active during the reading, so a frame that was incomplete when read may be whole a moment later. So
rule 2 applies only if the frame at o is still invalid when read again after the later header has been seen: the writer
finished the frame at o before it wrote that header.

Segments are read through a window, so memory use does not grow with their size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

import msgspec

from inmem.engine.errors import CorruptionError
from inmem.engine.limits import FRAME_BYTES_MAX
from inmem.engine.log.file_header import HEADER_BYTES
from inmem.engine.log.log_format import (
    FRAME_FACTS_BYTES,
    FRAME_HEADER,
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    FRAME_MAGIC_BYTES,
    FrameKind,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from inmem.engine.log.log_format import SegmentHeader
    from inmem.engine.ports import ReadFile

WINDOW_BYTES: Final = 1024 * 1024
"""Bytes read with one call, unless a frame is longer: few calls, and little memory."""

_COMMIT: Final = int(FrameKind.COMMIT)
_CLOSE: Final = int(FrameKind.CLOSE)
_KINDS: Final = {1: frozenset({_COMMIT, _CLOSE}), 2: frozenset(map(int, FrameKind))}
"""The frame kinds that occur in each segment format."""


class Frame(msgspec.Struct, frozen=True):
    """One frame; `offset` is where it begins in its segment."""

    offset: int
    kind: int
    version: int
    payload: bytes


class TornTail(NamedTuple):
    """Bytes at the end of a segment that were never acknowledged: `size` bytes from `offset`, and what is wrong."""

    offset: int
    size: int
    reason: str


class FrameReader:
    """The valid frames of one segment, in order. Iterate once; the attributes then describe how the segment ended.

    Args:
        file: the segment, header included.
        header: the segment's decoded header.
        path: the segment's path, for messages.
        valid_end: where the segment ends according to the next one or the MANIFEST; None if neither says so.
        start: where the first frame to be read begins.
        version: the version of the frame before it; None if it is the segment's first frame.

    Attributes:
        header: the segment's header.
        path: the segment's path, for messages.
        end: bytes of the segment that count, as far as it has been read.
        version: the version of the last frame, or the header's base version if there is none.
        is_closed: whether the last frame is a CLOSE.
        synced: bytes of the segment that were durable when the last frame was written.
        torn: the torn tail after `end`, if there is one.
        last: where the last frame begins, 0 if there is none.
    """

    __slots__ = ("_file", "_valid_end", "end", "header", "is_closed", "last", "path", "synced", "torn", "version")

    def __init__(
        self,
        file: ReadFile,
        header: SegmentHeader,
        path: str,
        valid_end: int | None,
        *,
        start: int = HEADER_BYTES,
        version: int | None = None,
    ) -> None:
        self._file: Final = file
        self._valid_end: Final = valid_end
        self.header: Final = header
        self.path: Final = path
        self.end = start
        self.last = 0
        self.version = header.base_version if version is None else version
        self.is_closed = False
        self.synced = HEADER_BYTES
        self.torn: TornTail | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames. Memory: WINDOW_BYTES, or the longest frame.

        Raises:
            CorruptionError: data that counts is damaged, by rule 1 or 2 of the module docstring.
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
        """Yield the frames from `end` on; return what is wrong with the first invalid one, or "" if there is none."""
        read_at = self._file.read_at
        valid_end = self._valid_end
        limit = self._file.size if valid_end is None else min(self._file.size, valid_end)
        seed = self.header.seed
        unpack_header = FRAME_HEADER.unpack_from
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
            if crc32(window[at : at + FRAME_FACTS_BYTES], seed) != header_crc:
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
            # Update the attributes before the frame is yielded, so the caller may stop after any frame.
            self.version = new_version
            self.is_closed = kind == _CLOSE
            self.last = offset
            self.end = end
            self.synced = synced
            yield Frame(offset, kind, new_version, payload)
            offset = end
        return ""

    def _fault(self, offset: int, magic: int, kind: int, flags: int, length: int, new_version: int, synced: int) -> str:
        """Return why a frame header with a valid checksum cannot stand at `offset`, or "" if it can."""
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
        """Apply rules 2 and 3 to the bytes from the invalid frame at `end` on.

        Return the header of a later frame that proves them durable, if there is one. Otherwise set `torn`, unless all
        the bytes are zeros.
        """
        end = self.end
        if is_blank(self._file, end):
            return None
        for header in intact_frame_headers(self._file, end + 1, self._file.size, self.header.seed):
            if header.synced > end:
                return header
        self.torn = TornTail(end, self._file.size - end, reason)
        return None


def is_blank(file: ReadFile, start: int) -> bool:
    """Return whether only zeros follow `start`: space allocated in advance and never written. O(bytes)."""
    return all(
        not file.read_at(at, min(WINDOW_BYTES, file.size - at)).strip(b"\x00")
        for at in range(start, file.size, WINDOW_BYTES)
    )


class FrameHeader(NamedTuple):
    """The fields of an intact frame header; the payload after it may be missing or damaged."""

    offset: int
    kind: int
    length: int
    version: int
    synced: int
    payload_crc: int


def intact_frame_headers(file: ReadFile, start: int, end: int, seed: int) -> Iterator[FrameHeader]:
    """Yield every frame header with valid magic and checksum in [start, end), at any offset.

    An intact header says what was durable when it was written, even if its payload is lost.
    """
    window_at = start
    while window_at + FRAME_HEADER_BYTES <= end:
        window = file.read_at(window_at, min(WINDOW_BYTES, end - window_at))
        last = len(window) - FRAME_HEADER_BYTES
        at = window.find(FRAME_MAGIC_BYTES)
        while 0 <= at <= last:
            _, kind, flags, length, version, synced, payload_crc, header_crc = FRAME_HEADER.unpack_from(window, at)
            if not flags and crc32(window[at : at + FRAME_FACTS_BYTES], seed) == header_crc:
                yield FrameHeader(window_at + at, kind, length, version, synced, payload_crc)
            at = window.find(FRAME_MAGIC_BYTES, at + 1)
        # The next window begins at the first offset for which this one did not contain a full header.
        window_at += last + 1
