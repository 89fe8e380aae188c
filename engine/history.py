"""What became of one key, commit by commit, as far back as the log is kept.

Tables hold the newest entry of a key and nothing older. The segments behind the last checkpoint, and whatever earlier
ones have not been removed yet, still say what each commit wrote; reading them is the only way to see a key's past.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from inmem.engine.frame_reader import read_frames
from inmem.engine.log_folder import FolderContents, linked_segments
from inmem.engine.log_format import FrameKind
from inmem.engine.log_records import TableWrites, decode_commit
from inmem.engine.manifest import read_manifest
from inmem.engine.recovery import end_of_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inmem.engine.log_records import CommitRecord
    from inmem.engine.ports import Folder


class KeyChange(NamedTuple):
    """What one commit did to the key.

    Attributes:
        version: of the commit.
        timestamp_us: when its transaction began, microseconds since the epoch; a later commit may have an earlier one.
        value: in the codec's encoding; None if the commit deleted the key, or the whole run.
        expires_at_us: the deadline it set, microseconds since the epoch; 0 for none.
    """

    version: int
    timestamp_us: int
    value: bytes | None
    expires_at_us: int


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """The changes of one key that the log still holds.

    Attributes:
        changes: the newest of them, in commit order.
        omitted: how many older ones the log holds beside.
        kept_since: every change after this version is among them or counted as omitted; 0 if the log is whole.
    """

    changes: tuple[KeyChange, ...]
    omitted: int
    kept_since: int


def read_history(
    disk: Folder,
    run: str,
    tag: int,
    key: bytes,
    limit: int,
    on_progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> KeyHistory:
    """Return the newest changes of a key that the log holds. Changes nothing.

    Args:
        disk: the folder.
        run: whose key.
        tag: of its table.
        key: in its table.
        limit: at most so many changes.
        on_progress: called before each segment with the number of segments read and their total; what it raises ends
            the reading.

    Raises:
        CorruptionError: something that counts is damaged or missing.
        FormatVersionError: a file is not ours, or of a newer format.

    Complexity: O(bytes of the log) in time, at the speed of checksums where commits do not name the run; in memory a
    window, or the longest commit, and `limit` values.
    """
    manifest = read_manifest(disk)
    numbers = FolderContents.of(disk.names()).segments
    changes: deque[KeyChange] = deque(maxlen=limit)
    found = 0
    kept_since: int | None = None
    # A commit that concerns the run has these bytes in its record, wherever they stand.
    named = run.encode()
    for at, (segment, following) in enumerate(
        linked_segments(disk, numbers, 0 if manifest is None else manifest.segment)
    ):
        on_progress(at, len(numbers))
        if segment.header is None:
            continue
        if kept_since is None:
            kept_since = segment.header.base_version
        valid_end = end_of_segment(disk, segment, following, manifest)
        for frame in read_frames(segment.file, segment.header, segment.path, valid_end):
            if frame.kind != FrameKind.COMMIT or named not in frame.payload:
                continue
            record = decode_commit(frame.payload, segment.path, frame.offset)
            # Whether the key was there before the kept log begins is not known.
            is_live = changes[-1].value is not None if changes else kept_since > 0
            for change in _changes(frame.version, record, run, tag, key, is_live=is_live):
                changes.append(change)
                found += 1
    return KeyHistory(tuple(changes), found - len(changes), kept_since or 0)


def _changes(
    version: int, record: CommitRecord, run: str, tag: int, key: bytes, *, is_live: bool
) -> Iterator[KeyChange]:
    for operation in record.operations:
        if operation.run != run:
            continue
        if not isinstance(operation, TableWrites):
            # Of a key that was not there, dropping the run says nothing.
            if is_live:
                yield KeyChange(version, record.timestamp_us, None, 0)
        elif operation.tag == tag:
            for written, value, expires_at_us in operation.writes:
                if written == key:
                    yield KeyChange(version, record.timestamp_us, value, expires_at_us)
