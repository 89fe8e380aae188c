"""Reading on where reading stopped: the state of a database whose owner goes on writing.

What has been read of a log stays true for as long as its owner only appends. Two things can make it untrue: a
checkpoint removes the segment that was read last, and after a failed write or sync the owner takes back what nobody
had been promised. Both show in the files. The frame that was read last is the bookmark: when it is not there any more,
or the next segment says that it does not count, the whole state has to be read anew.

An incomplete frame at the end is not there yet; when its writer has died, it never will be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from inmem.engine.keys import shard_of
from inmem.engine.log.file_header import HEADER_BYTES
from inmem.engine.log.frame_reader import read_frames
from inmem.engine.log.log_folder import FolderContents, linked_segments, open_segment, path_of, segment_name
from inmem.engine.log.log_format import FRAME_HEADER_BYTES, FrameKind
from inmem.engine.log.log_records import TableWrites, decode_commit
from inmem.engine.log.recovery import check_link
from inmem.engine.retained_commits import RetainedCommits
from inmem.engine.tables.snapshot import Snapshot, without_run
from inmem.engine.tables.table import Table

if TYPE_CHECKING:
    from inmem.engine.log.frame_reader import FrameReader
    from inmem.engine.log.log_folder import SegmentFile
    from inmem.engine.log.log_format import SegmentHeader
    from inmem.engine.log.log_records import CommitRecord
    from inmem.engine.log.recovery import LogPosition
    from inmem.engine.ports import Folder, ReadFile

_KIND_AT: Final = 2
"""Where the header of a frame says what the frame is for."""


class Bookmark(NamedTuple):
    """The last frame that was read, or the segment's header if it has no frame yet.

    Attributes:
        header: of the segment.
        offset: where the frame begins in its segment; 0 for the header.
        end: where it ends.
        version: the last one that was read.
        seen: the frame's header, or the segment's: checksums, version and salt make it like no other.
    """

    header: SegmentHeader
    offset: int
    end: int
    version: int
    seen: bytes

    @classmethod
    def at(cls, folder: Folder, position: LogPosition) -> Bookmark | None:
        """Return the bookmark for the end of what was recovered from `folder`; None if there is no log yet."""
        if position.segment == 0:
            return None
        segment = open_segment(folder, position.segment, is_last=False)
        try:
            if segment.header is None:
                return None
            seen = _seen(segment.file, position.last_frame)
        finally:
            segment.file.close()
        return cls(segment.header, position.last_frame, position.end, position.version, seen)

    @property
    def version_before(self) -> int | None:
        """The version that the frame follows; None if the segment has no frame yet."""
        if not self.offset:
            return None
        return self.version - 1 if self.seen[_KIND_AT] == FrameKind.COMMIT else self.version


class Progress(NamedTuple):
    """What reading on has led to.

    Attributes:
        snapshot: the newest state.
        time_floor_us: latest timestamp of the commits that were read; 0 if there were none.
        outcomes: (salt, transaction id) → version of the commits that were read, in order of their versions.
        retained: the newest of the commits that were read, for watchers.
        bookmark: where to read on the next time.
    """

    snapshot: Snapshot
    time_floor_us: int
    outcomes: dict[tuple[int, int], int]
    retained: RetainedCommits
    bookmark: Bookmark


def read_on(folder: Folder, bookmark: Bookmark, snapshot: Snapshot) -> Progress | None:
    """Return the state after everything that was appended since; None if it has to be read anew.

    Args:
        folder: as it is now.
        bookmark: where reading stopped.
        snapshot: the state there; it stays what it is.

    Raises:
        CorruptionError, FormatVersionError: something cannot be read, or has just been taken back.

    Complexity: O(bytes appended), and O(log n) per key written.
    """
    first = bookmark.header.number
    numbers = [number for number in FolderContents.of(folder.names()).segments if number >= first]
    if not numbers or numbers != list(range(first, first + len(numbers))):
        return None
    name = segment_name(first)
    file = folder.open(name)
    try:
        later = linked_segments(folder, numbers[1:], 0)
        segment, following = next(later, (None, None))
        valid_end = _bytes_that_count(segment)
        if _seen(file, bookmark.offset) != bookmark.seen or (valid_end is not None and valid_end < bookmark.end):
            return None
        fold = _Fold(bookmark, snapshot)
        before = bookmark.version_before
        start = bookmark.offset or HEADER_BYTES
        frames = read_frames(file, bookmark.header, path_of(folder, name), valid_end, start=start, version=before)
        fold.read(frames, file)
        if fold.bookmark.end < bookmark.end:
            return None
        while segment is not None and segment.header is not None:
            check_link(segment.header, segment.path, segment.number - 1, fold.bookmark.version, 0)
            valid_end = _bytes_that_count(following)
            fold.read(read_frames(segment.file, segment.header, segment.path, valid_end), segment.file)
            segment, following = next(later, (None, None))
        return fold.result()
    finally:
        file.close()


def _seen(file: ReadFile, offset: int) -> bytes:
    """Return the bytes by which the frame at `offset`, or the segment's header for 0, is known again."""
    wanted = FRAME_HEADER_BYTES if offset else HEADER_BYTES
    return file.read_at(offset, max(0, min(wanted, file.size - offset)))


def _bytes_that_count(following: SegmentFile | None) -> int | None:
    """Return what a segment says about the one before it; None if there is no such segment, or not yet."""
    return None if following is None or following.header is None else following.header.previous_end


class _Fold:
    """Folds commits into immutable tables."""

    def __init__(self, bookmark: Bookmark, snapshot: Snapshot) -> None:
        self.bookmark = bookmark
        self._snapshot = snapshot
        self._roots = list(snapshot.roots)
        self._time_floor_us = 0
        self._outcomes: dict[tuple[int, int], int] = {}
        self._retained = RetainedCommits(snapshot.version)

    def read(self, frames: FrameReader, file: ReadFile) -> None:
        """Fold in those commits of `frames`, which are read from `file`, that are news; move the bookmark behind."""
        read = self.bookmark.version
        for frame in frames:
            if frame.kind == FrameKind.COMMIT and frame.version > read:
                record = decode_commit(frame.payload, frames.path, frame.offset)
                self._apply(frame.version, record, frames.header.salt)
                self._retained.add(frame.version, frame.payload)
        seen = _seen(file, frames.last)
        self.bookmark = Bookmark(frames.header, frames.last, frames.end, frames.version, seen)

    def _apply(self, version: int, record: CommitRecord, salt: int) -> None:
        roots = self._roots
        for operation in record.operations:
            shard = shard_of(operation.run, len(roots))
            root = roots[shard]
            if isinstance(operation, TableWrites):
                run, tag, writes = operation
                if writes:
                    roots[shard] = root.set((run, tag), root.get((run, tag), Table.EMPTY).apply(writes, version))
            else:
                roots[shard] = without_run(root, operation.run)
        self._time_floor_us = max(self._time_floor_us, record.timestamp_us)
        self._outcomes[salt, record.transaction_id] = version

    def result(self) -> Progress:
        """Return where it has led to; the very same snapshot if nothing was new."""
        bookmark = self.bookmark
        if bookmark.version == self._snapshot.version:
            return Progress(self._snapshot, 0, {}, self._retained, bookmark)
        snapshot = Snapshot(bookmark.version, tuple(self._roots))
        self._retained.advance(bookmark.version)
        return Progress(snapshot, self._time_floor_us, self._outcomes, self._retained, bookmark)
