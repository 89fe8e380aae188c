"""Following a log: reading on from where an earlier read stopped, while the owner continues to write.

As long as the owner only appends, what has been read stays valid. Two events can invalidate it: a checkpoint removes
the segment that was read last, or after a failed write or sync the owner discards frames that were never acknowledged.
Both are visible in the files. The last frame read is the bookmark: if it is gone, or if the next segment says that it
does not count, the whole state must be read again.

An incomplete frame at the end is ignored: its writer has not finished it yet, or has died and never will.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inmem.engine.keys import shard_of
from inmem.engine.log.file_header import HEADER_BYTES
from inmem.engine.log.frame_reader import FrameReader
from inmem.engine.log.log_folder import FolderContents, path_of, segment_name
from inmem.engine.log.log_format import FRAME_HEADER_BYTES, FRAME_KIND_AT, FrameKind
from inmem.engine.log.log_records import TableWrites, decode_commit
from inmem.engine.log.numbered_files import linked_segments, open_segment
from inmem.engine.log.recovery import check_link
from inmem.engine.retained_commits import RetainedCommits
from inmem.engine.tables.snapshot import Snapshot, without_run
from inmem.engine.tables.table import Table

if TYPE_CHECKING:
    from inmem.engine.log.log_format import SegmentHeader
    from inmem.engine.log.log_records import CommitRecord
    from inmem.engine.log.numbered_files import SegmentFile
    from inmem.engine.log.recovery import LogPosition
    from inmem.engine.ports import Folder, ReadFile


class Bookmark(NamedTuple):
    """The last frame that was read, or the segment's header if it has no frame yet.

    Attributes:
        header: the segment's header.
        offset: where the frame begins in its segment; 0 for the header.
        end: where it ends.
        version: the last version that was read.
        seen: the frame's header, or the segment's; its checksums, version and salt make it unique.
    """

    header: SegmentHeader
    offset: int
    end: int
    version: int
    seen: bytes

    @classmethod
    def at(cls, folder: Folder, position: LogPosition) -> Bookmark | None:
        """Return a bookmark at the end of the log recovered from `folder`; None if there is no log yet."""
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
        """The last version before the frame; None if the segment has no frame yet."""
        if not self.offset:
            return None
        return self.version - 1 if self.seen[FRAME_KIND_AT] == FrameKind.COMMIT else self.version


class Progress(NamedTuple):
    """The result of reading on.

    Attributes:
        snapshot: the newest state.
        time_floor_us: latest timestamp of the commits that were read; 0 if there were none.
        outcomes: (salt, transaction id) → version of the commits that were read, ordered by version.
        retained: the newest of the commits that were read, for watchers.
        bookmark: where to continue next time.
    """

    snapshot: Snapshot
    time_floor_us: int
    outcomes: dict[tuple[int, int], int]
    retained: RetainedCommits
    bookmark: Bookmark


def read_on(folder: Folder, bookmark: Bookmark, snapshot: Snapshot) -> Progress | None:
    """Return the state after everything appended since; None if the whole state must be read again.

    Args:
        folder: the folder, in its present state.
        bookmark: where reading stopped.
        snapshot: the state at the bookmark; it is not changed.

    Raises:
        CorruptionError, FormatVersionError: a file cannot be read, or the owner has just discarded its content.

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
        frames = FrameReader(file, bookmark.header, path_of(folder, name), valid_end, start=start, version=before)
        fold.read(frames, file)
        if fold.bookmark.end < bookmark.end:
            return None
        while segment is not None and segment.header is not None:
            check_link(segment.header, segment.path, segment.number - 1, fold.bookmark.version, 0)
            valid_end = _bytes_that_count(following)
            fold.read(FrameReader(segment.file, segment.header, segment.path, valid_end), segment.file)
            segment, following = next(later, (None, None))
        return fold.result()
    finally:
        file.close()


def _seen(file: ReadFile, offset: int) -> bytes:
    """Return the bytes that identify the frame at `offset`, or the segment's header if `offset` is 0."""
    wanted = FRAME_HEADER_BYTES if offset else HEADER_BYTES
    return file.read_at(offset, max(0, min(wanted, file.size - offset)))


def _bytes_that_count(following: SegmentFile | None) -> int | None:
    """Return how many bytes of the previous segment count; None if `following` is missing or has no header yet."""
    return None if following is None or following.header is None else following.header.previous_end


class _Fold:
    """Applies commits to immutable tables."""

    def __init__(self, bookmark: Bookmark, snapshot: Snapshot) -> None:
        self.bookmark = bookmark
        self._snapshot = snapshot
        self._roots = list(snapshot.roots)
        self._time_floor_us = 0
        self._outcomes: dict[tuple[int, int], int] = {}
        self._retained = RetainedCommits(snapshot.version)

    def read(self, frames: FrameReader, file: ReadFile) -> None:
        """Apply the new commits among `frames`, which are read from `file`, and advance the bookmark."""
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
                    table_id = run, tag
                    table = root.stored(table_id)
                    changed = (table or Table.EMPTY).apply(writes, version)
                    roots[shard] = root.changed({table_id: changed}, {table_id: table})
            else:
                roots[shard] = without_run(root, operation.run)
        self._time_floor_us = max(self._time_floor_us, record.timestamp_us)
        self._outcomes[salt, record.transaction_id] = version

    def result(self) -> Progress:
        """Return the result; it has the original snapshot object if there were no new commits."""
        bookmark = self.bookmark
        if bookmark.version == self._snapshot.version:
            return Progress(self._snapshot, 0, {}, self._retained, bookmark)
        snapshot = Snapshot(bookmark.version, tuple(self._roots))
        self._retained.advance(bookmark.version)
        return Progress(snapshot, self._time_floor_us, self._outcomes, self._retained, bookmark)
