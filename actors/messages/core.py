"""The messages among the coordinator, the shards, the log writer, the log disk and the checkpointer.

These actors form a *core*, and a core is always rebuilt from the log as a whole. A message between its actors carries
the core's number, so that messages which an earlier core left in a mailbox are recognised and dropped. Requests from
clients and other actors carry no number: any core may answer them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.messages.message import Message

if TYPE_CHECKING:
    from inmem.engine.commits.part import Part
    from inmem.engine.commits.shard import Verdict
    from inmem.engine.errors import StorageError
    from inmem.engine.log.log_format import SegmentHeader
    from inmem.engine.ports import AppendFile
    from inmem.engine.tables.snapshot import Root, Snapshot


class Validate(Message, frozen=True):
    """Coordinator → shard, step 1: validate a part of a commit. The reply is `Validated`."""

    core: int
    part: Part


class Validated(Message, frozen=True):
    """Shard → coordinator, step 2: the verdict on the part."""

    core: int
    shard: int
    transaction_id: int
    verdict: Verdict


class Release(Message, frozen=True):
    """Coordinator → shard, step 2: discard what was prepared for this transaction."""

    core: int
    transaction_id: int


class Append(Message, frozen=True):
    """Coordinator → log writer, step 3: append this record. The reply is `Appended` or `AppendRefused`."""

    core: int
    transaction_id: int
    record: bytes


class Appended(Message, frozen=True):
    """Log writer → coordinator, step 4: these commits are in the log, numbered from `first_version` in this order."""

    core: int
    first_version: int
    transaction_ids: tuple[int, ...]


class AppendRefused(Message, frozen=True):
    """Log writer → coordinator, step 4: these commits are not in the log and never will be."""

    core: int
    transaction_ids: tuple[int, ...]
    error: StorageError


class Apply(Message, frozen=True):
    """Coordinator → shard, step 4: apply these (transaction id, version) pairs in order. The reply is `Applied`."""

    core: int
    batch_version: int
    commits: tuple[tuple[int, int], ...]


class Applied(Message, frozen=True):
    """Shard → coordinator, step 5: the shard's tables, with the whole batch applied."""

    core: int
    shard: int
    batch_version: int
    root: Root


class Flush(Message, frozen=True):
    """Client or actor → log writer: make everything appended so far durable. The reply comes when it is."""


class SyncDue(Message, frozen=True):
    """Timer → log writer: in `interval` durability, a sync is due now."""

    core: int


class Sync(Message, frozen=True):
    """Log writer → disk: make everything in this file durable. The reply is `Synced`."""

    core: int
    file: AppendFile


class Synced(Message, frozen=True):
    """Disk → log writer: the file is durable."""

    core: int
    elapsed_s: float


class StartSegment(Message, frozen=True):
    """Log writer → disk: make `previous` durable, then create the next segment.

    The reply is `SegmentStarted` or `SegmentRefused`.
    """

    core: int
    previous: AppendFile | None
    header: SegmentHeader


class SegmentStarted(Message, frozen=True):
    """Disk → log writer: the segment exists durably and contains its header."""

    core: int
    header: SegmentHeader
    file: AppendFile


class SegmentRefused(Message, frozen=True):
    """Disk → log writer: the segment could not be created; nothing of it remains."""

    core: int
    error: StorageError


class Checkpoint(Message, frozen=True):
    """Client or actor → log writer: start a checkpoint. The reply, sent once it is durable, is its version."""


class SegmentRotated(Message, frozen=True):
    """Log writer → coordinator: commits after `base_version` are in segment `number` and later ones."""

    core: int
    number: int
    base_version: int


class WriteCheckpoint(Message, frozen=True):
    """Coordinator → checkpointer: write this snapshot. Segments before `first_segment` are then obsolete."""

    core: int
    snapshot: Snapshot
    first_segment: int
    transaction_id_max: int
    time_floor_us: int
    outcomes: tuple[tuple[tuple[int, int], int], ...]
    """((salt, transaction id), version) of the newest commits up to the snapshot's version."""
    outcomes_since: int


class LogFlushed(Message, frozen=True):
    """Log writer → checkpointer: the log is durable up to the checkpoint's snapshot, or `error` says why not."""

    core: int
    checkpoint: WriteCheckpoint
    size_bytes: int
    error: BaseException | None


class CheckpointWritten(Message, frozen=True):
    """Checkpointer → log writer: the checkpoint is durable and the obsolete files are gone."""

    core: int
    version: int
    first_segment: int


class CheckpointFailed(Message, frozen=True):
    """Checkpointer → log writer: the checkpoint was not completed. No data is lost.

    The checkpoint may exist already, and obsolete files may remain.
    """

    core: int
    error: StorageError
    first_segment: int


class CloseLog(Message, frozen=True):
    """Supervisor → log writer: make everything durable and mark the close. The reply is `LogClosed`."""


class LogClosed(Message, frozen=True):
    """Log writer → supervisor: everything appended is durable."""


MESSAGES = frozenset(
    kind
    for kind in tuple(globals().values())
    if isinstance(kind, type) and issubclass(kind, Message) and "core" in kind.__struct_fields__
)
"""The messages that carry their core's number, and that any other core drops."""
