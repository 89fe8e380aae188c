"""What coordinator, shards, log writer and disk say among each other.

They are rebuilt together, as one *core*, from the log. What they say to each other names the core it belongs to, so
that what an earlier core left in a mailbox is recognised and dropped. What others ask of them does not: any core may
answer.
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
    """Coordinator → shard, step 1: may this commit? Answered by `Validated`."""

    core: int
    part: Part


class Validated(Message, frozen=True):
    """Shard → coordinator, step 2."""

    core: int
    shard: int
    transaction_id: int
    verdict: Verdict


class Release(Message, frozen=True):
    """Coordinator → shard, step 2: give up what was prepared."""

    core: int
    transaction_id: int


class Append(Message, frozen=True):
    """Coordinator → log writer, step 3. Answered by `Appended` or `AppendRefused`."""

    core: int
    transaction_id: int
    record: bytes


class Appended(Message, frozen=True):
    """Log writer → coordinator, step 4: these are in the log, numbered from `first_version` in this order."""

    core: int
    first_version: int
    transaction_ids: tuple[int, ...]


class AppendRefused(Message, frozen=True):
    """Log writer → coordinator, step 4: these are not in the log and never will be."""

    core: int
    transaction_ids: tuple[int, ...]
    error: StorageError


class Apply(Message, frozen=True):
    """Coordinator → shard, step 4: apply (transaction id, version) pairs in this order. Answered by `Applied`."""

    core: int
    batch_version: int
    commits: tuple[tuple[int, int], ...]


class Applied(Message, frozen=True):
    """Shard → coordinator, step 5: the shard's tables, with the whole batch in them."""

    core: int
    shard: int
    batch_version: int
    root: Root


class Flush(Message, frozen=True):
    """Anybody → log writer: answer when everything appended so far is durable."""


class SyncDue(Message, frozen=True):
    """Timer → log writer: `interval` durability wants a sync now."""

    core: int


class Sync(Message, frozen=True):
    """Log writer → disk: make everything in this file durable. Answered by `Synced`."""

    core: int
    file: AppendFile


class Synced(Message, frozen=True):
    """Disk → log writer."""

    core: int
    elapsed_s: float


class StartSegment(Message, frozen=True):
    """Log writer → disk: make `previous` durable, then create the next segment. Answered by the two below."""

    core: int
    previous: AppendFile | None
    header: SegmentHeader


class SegmentStarted(Message, frozen=True):
    """Disk → log writer: the segment exists durably, with its header in it."""

    core: int
    header: SegmentHeader
    file: AppendFile


class SegmentRefused(Message, frozen=True):
    """Disk → log writer: the segment could not be created; nothing of it remains."""

    core: int
    error: StorageError


class Checkpoint(Message, frozen=True):
    """Anybody → log writer: start a checkpoint. Answered, when it is durable, by its version."""


class SegmentRotated(Message, frozen=True):
    """Log writer → coordinator: commits after `base_version` are in segment `number` and later ones."""

    core: int
    number: int
    base_version: int


class WriteCheckpoint(Message, frozen=True):
    """Coordinator → checkpointer: write this snapshot; segments before `first_segment` are then superfluous."""

    core: int
    snapshot: Snapshot
    first_segment: int
    transaction_id_max: int
    time_floor_us: int
    outcomes: tuple[tuple[tuple[int, int], int], ...]
    """((salt, transaction id), version) of the newest commits up to the snapshot."""
    outcomes_since: int


class LogFlushed(Message, frozen=True):
    """Log writer → checkpointer: everything up to the checkpoint's snapshot is durable in the log, or `error`."""

    core: int
    checkpoint: WriteCheckpoint
    size_bytes: int
    error: BaseException | None


class CheckpointWritten(Message, frozen=True):
    """Checkpointer → log writer: the checkpoint is durable and the superfluous files are gone."""

    core: int
    version: int
    first_segment: int


class CheckpointFailed(Message, frozen=True):
    """Checkpointer → log writer: it was not brought to its end. Nothing is lost.

    The checkpoint may be there already, and files that are superfluous may be left.
    """

    core: int
    error: StorageError
    first_segment: int


class CloseLog(Message, frozen=True):
    """Supervisor → log writer: make everything durable and mark the close. Answered by `LogClosed`."""


class LogClosed(Message, frozen=True):
    """Log writer → supervisor: all that was appended is durable."""


MESSAGES = frozenset(
    kind
    for kind in tuple(globals().values())
    if isinstance(kind, type) and issubclass(kind, Message) and "core" in kind.__struct_fields__
)
"""Those that are meaningless to any core but their own."""
