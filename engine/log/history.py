"""The history of one key, commit by commit, as far back as the log is kept.

Tables hold only the newest entry of a key. The segments after the last checkpoint, and earlier ones that have not been
removed yet, still record what each commit wrote; reading them is the only way to see a key's past.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from inmem.engine.log.frame_reader import FrameReader
from inmem.engine.log.log_folder import FolderContents
from inmem.engine.log.log_format import FrameKind
from inmem.engine.log.log_records import TableWrites, decode_commit
from inmem.engine.log.manifest import read_manifest
from inmem.engine.log.numbered_files import linked_segments
from inmem.engine.log.recovery import end_of_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from inmem.engine.log.log_format import SegmentHeader
    from inmem.engine.log.log_records import CommitRecord
    from inmem.engine.log.numbered_files import SegmentFile
    from inmem.engine.ports import Folder

    Progress: TypeAlias = Callable[[int, int], object]

K = TypeVar("K")


def _tell_nobody(_done: int, _total: int) -> None:
    """Ignore the progress."""


class KeyChange(NamedTuple):
    """What one commit did to the key.

    Attributes:
        version: the commit's version.
        timestamp_us: when its transaction began, microseconds since the epoch; a later commit may have an earlier one.
        value: the encoded value; None if the commit deleted the key, or the whole run.
        expires_at_us: the deadline that the commit set, microseconds since the epoch; 0 for none.
    """

    version: int
    timestamp_us: int
    value: bytes | None
    expires_at_us: int


@dataclass(frozen=True, slots=True)
class KeyHistory(Generic[K]):
    """The changes of one key that the log still holds.

    Attributes:
        changes: the newest changes, as `keep` returned them, in commit order.
        omitted: how many older changes the log holds.
        kept_since: every change after this version is in `changes` or counted in `omitted`; 0 if the log is complete.
    """

    changes: tuple[K, ...]
    omitted: int
    kept_since: int


def read_history(
    disk: Folder,
    run: str,
    tag: int,
    key: bytes,
    limit: int,
    keep: Callable[[KeyChange], K],
    on_progress: Progress = _tell_nobody,
) -> KeyHistory[K]:
    """Return the newest changes of a key that the log holds. Does not change any file.

    Args:
        disk: the folder.
        run: the run id of the key.
        tag: the type tag of the key.
        key: the user key.
        limit: the most changes to return.
        keep: called with each change when it is read; returns what to keep of it, because values may be large.
        on_progress: called before each segment with the number of segments read and their total; an exception from it
            ends the reading.

    Raises:
        CorruptionError: data that counts is damaged or missing.
        FormatVersionError: a file has a newer format, or the folder contains no inmem database.

    Complexity: O(bytes of the log) in time, at the speed of checksums for commits that do not name the run; in memory a
    window or the longest commit, and `limit` times what is kept.
    """
    changes: deque[K] = deque(maxlen=limit)
    found = 0
    kept_since: int | None = None
    is_live = False
    for part in _parts(disk, run, on_progress):
        if kept_since is None:
            kept_since = part.after
            # If the kept log does not begin at version 0, the key may have existed before it.
            is_live = kept_since > 0
        for version, record in part.commits:
            for change in list(_changes(version, record, run, tag, key, is_live=is_live)):
                changes.append(keep(change))
                found += 1
                is_live = change.value is not None
    return KeyHistory(tuple(changes), found - len(changes), kept_since or 0)


def read_change(disk: Folder, run: str, tag: int, key: bytes, version: int) -> KeyChange | None:
    """Return the write of commit `version` to a key, or None if it wrote no value or is not in the log.

    Raises:
        CorruptionError, FormatVersionError: as `read_history`.

    Complexity: O(bytes of one segment) in time, in memory a window or the longest commit.
    """
    given: KeyChange | None = None
    for part in _parts(disk, run, _tell_nobody):
        if part.after < version and (part.until is None or version <= part.until):
            for committed, record in part.commits:
                if committed == version:
                    for change in _changes(version, record, run, tag, key, is_live=False):
                        given = change if change.value is not None else given
    return given


class _Part(NamedTuple):
    """One segment, with those of its commits that may concern a run, read lazily."""

    after: int
    """The commits have versions greater than this."""
    until: int | None
    """The commits have versions up to this one; None if there is no next segment to tell."""
    commits: Iterator[tuple[int, CommitRecord]]


def _parts(disk: Folder, run: str, on_progress: Progress) -> Iterator[_Part]:
    manifest = read_manifest(disk)
    numbers = FolderContents.of(disk.names()).segments
    proven = 0 if manifest is None else manifest.segment
    for at, (segment, following) in enumerate(linked_segments(disk, numbers, proven)):
        on_progress(at, len(numbers))
        header = segment.header
        if header is not None:
            after = None if following is None else following.header
            until = None if after is None else after.base_version
            valid_end = end_of_segment(disk, segment, following, manifest)
            yield _Part(header.base_version, until, _commits(segment, header, valid_end, run))


def _commits(
    segment: SegmentFile, header: SegmentHeader, valid_end: int | None, run: str
) -> Iterator[tuple[int, CommitRecord]]:
    # A commit that concerns the run contains these bytes somewhere in its record.
    named = run.encode()
    for frame in FrameReader(segment.file, header, segment.path, valid_end):
        if frame.kind == FrameKind.COMMIT and named in frame.payload:
            yield frame.version, decode_commit(frame.payload, segment.path, frame.offset)


def _changes(
    version: int, record: CommitRecord, run: str, tag: int, key: bytes, *, is_live: bool
) -> Iterator[KeyChange]:
    for operation in record.operations:
        if operation.run != run:
            continue
        if not isinstance(operation, TableWrites):
            # Dropping the run does not change a key that did not exist.
            if is_live:
                yield KeyChange(version, record.timestamp_us, None, 0)
        elif operation.tag == tag:
            for written, value, expires_at_us in operation.writes:
                if written == key:
                    yield KeyChange(version, record.timestamp_us, value, expires_at_us)
