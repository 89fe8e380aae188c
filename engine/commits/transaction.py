"""A transaction: a snapshot to read from, writes held back, and everything remembered that validation will judge.

Life of a transaction (`TRANSITIONS` is this table):

    active ──▶ validating ──▶ committed
       │           │
       └───────────┴────────▶ aborted

Nothing here talks to anybody. `seal` turns the transaction into an immutable `CommitRequest`; the coordinator carries
that through validation and the log.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeAlias

from msgspec import Raw, Struct

from inmem.engine.commits.part import Part, Slice
from inmem.engine.commits.scope import Scope
from inmem.engine.commits.table_view import TableView, Undo
from inmem.engine.errors import InvariantError, TransactionClosedError, UsageError
from inmem.engine.ids import time_ordered_id
from inmem.engine.limits import DEFAULT_LIMITS, FRAME_BYTES_MAX
from inmem.engine.log.log_records import COMMIT_HEAD_BYTES_MAX, encode_commit, encode_operations
from inmem.engine.noncopyable import NonCopyable

if TYPE_CHECKING:
    from inmem.engine.commits.view import View
    from inmem.engine.limits import Limits
    from inmem.engine.log.log_records import PlainOperation
    from inmem.engine.ports import Entropy
    from inmem.engine.tables.snapshot import Snapshot


class Isolation(StrEnum):
    """What concurrent transactions may see of each other; the isolation table in docs/transactions.md shows each.

    Attributes:
        SNAPSHOT: one snapshot; single keys that were read are validated.
        SERIALIZABLE: scanned ranges are validated too.
    """

    SNAPSHOT = "snapshot"
    SERIALIZABLE = "serializable"


IsolationName: TypeAlias = Isolation | Literal["snapshot", "serializable"]
"""What `db.begin` and `db.transaction` take as their isolation: a level, or its name."""


class TransactionStatus(StrEnum):
    """Where a transaction stands.

    Attributes:
        ACTIVE: it takes reads and writes.
        VALIDATING: it is being committed.
        COMMITTED: all of it is visible.
        ABORTED: nothing of it remains.
    """

    ACTIVE = "active"
    VALIDATING = "validating"
    COMMITTED = "committed"
    ABORTED = "aborted"


TRANSITIONS: dict[TransactionStatus, frozenset[TransactionStatus]] = {
    TransactionStatus.ACTIVE: frozenset({TransactionStatus.VALIDATING, TransactionStatus.ABORTED}),
    TransactionStatus.VALIDATING: frozenset({TransactionStatus.COMMITTED, TransactionStatus.ABORTED}),
    TransactionStatus.COMMITTED: frozenset(),
    TransactionStatus.ABORTED: frozenset(),
}


_ACTIVE: Final = TransactionStatus.ACTIVE
_VALIDATING: Final = TransactionStatus.VALIDATING


class CommitRequest(Part, frozen=True):
    """A sealed transaction: what it read, expects and writes. Where there is one shard, it is its own one part."""

    timestamp_us: int
    operations: Raw
    """What it does, as the log takes it: the drops first, then the writes, table by table."""
    expires: bool
    """Whether any write may have a deadline."""

    def record(self) -> bytes:
        """Return the log record. O(bytes)."""
        return encode_commit((self.transaction_id, self.timestamp_us, self.operations))

    def with_id(self, transaction_id: int) -> CommitRequest:
        """Return the same request under another id."""
        return CommitRequest(
            transaction_id,
            self.start_version,
            self.slices,
            self.dropped_runs,
            self.judges_drops,
            self.timestamp_us,
            self.operations,
            self.expires,
        )


UNCOUNTED_WRITES_MAX: Final = 16
"""So few writes are packed first, and counted only if there turns out to be too much of them."""


class _Drop(Struct, frozen=True):
    """How to take a drop_run back: the run, and its views as they stood before."""

    run: str
    was_dropped: bool
    views: tuple[tuple[tuple[str, int], TableView], ...]


class Transaction(NonCopyable):
    """Reads one snapshot, buffers writes, remembers what must still hold at commit. Not for sharing among threads.

    Args:
        transaction_id: unique in the life of the database.
        snapshot: what the transaction sees.
        now_us: the transaction's one and only time, microseconds since the epoch; expiry is judged by it.
        entropy: where new ids take their random bits from.
        isolation: whether scanned ranges are remembered too.
        limits: of what it may write.

    Attributes:
        judges_drops: whether a run that is dropped must be as it was in the snapshot.
    """

    judges_drops: ClassVar[bool] = True

    __slots__ = (
        "_dropped",
        "_entropy",
        "_ordinal",
        "_scope",
        "_views",
        "id",
        "isolation",
        "limits",
        "now_us",
        "snapshot",
        "start_version",
        "status",
    )

    def __init__(
        self,
        transaction_id: int,
        snapshot: Snapshot,
        now_us: int,
        entropy: Entropy,
        isolation: Isolation = Isolation.SNAPSHOT,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.id = transaction_id
        self.snapshot = snapshot
        self.start_version = snapshot.version
        self.now_us = now_us
        self.isolation = isolation
        self.limits = limits
        self.status: TransactionStatus = _ACTIVE
        self._entropy = entropy
        self._ordinal = 0
        self._scope = Scope(now_us, track_scans=isolation is Isolation.SERIALIZABLE)
        self._views: dict[tuple[str, int], TableView] = {}
        self._dropped: dict[str, None] = {}

    def view(self, run: str, tag: int) -> View:
        """Return this transaction's view of one table of `run`; the same object every time. O(1)."""
        table_id = (run, tag)
        view = self._views.get(table_id)
        if view is None:
            if self.status is not _ACTIVE:
                raise TransactionClosedError(self.status)
            view = TableView(self._scope, run, tag, self.snapshot.table(run, tag))
            if run in self._dropped:
                view.forget()
            self._views[table_id] = view
        return view

    def drop_run(self, run: str) -> None:
        """Make every table of `run` vanish in this commit; what is written to it afterwards starts afresh. O(tables).

        The transaction then conflicts with any commit to the run after its snapshot, if it `judges_drops`.
        """
        self._require_active()
        views = tuple((table_id, view) for table_id, view in self._views.items() if table_id[0] == run)
        undo_log = self._scope.undo_log
        if undo_log is not None:
            before = tuple((table_id, view.copy()) for table_id, view in views)
            undo_log.append(_Drop(run, run in self._dropped, before))
        self._dropped[run] = None
        for _, view in views:
            view.forget()

    def new_id(self) -> str:
        """Return a fresh time-ordered id."""
        self._require_active()
        return time_ordered_id(self.now_us, self._entropy)

    def next_ordinal(self) -> int:
        """Return 0, 1, 2, …: how often this was called before. A rollback takes nothing of it back."""
        ordinal = self._ordinal
        self._ordinal = ordinal + 1
        return ordinal

    def mark(self) -> int:
        """Return a place to which `rollback_to` can take the buffered writes back."""
        self._require_active()
        if self._scope.undo_log is None:
            self._scope.undo_log = []
        return len(self._scope.undo_log)

    def wrote_over(self, mark: int) -> bool:
        """Return whether a write since `mark` replaced, or took back, one from before it. O(writes since)."""
        since: list[Undo | _Drop] = (self._scope.undo_log or [])[mark:]
        for at, undo in enumerate(since):
            if not isinstance(undo, Undo):
                if any(view.writes for _, view in undo.views):
                    return True
            elif undo.write is not None:
                place = (undo.view, undo.key)
                if not any(isinstance(own, Undo) and (own.view, own.key) == place for own in since[:at]):
                    return True
        return False

    def rollback_to(self, mark: int) -> None:
        """Take back every write since `mark`. What was read stays remembered. O(writes since)."""
        self._require_active()
        undo_log: list[Undo | _Drop] | None = self._scope.undo_log
        if undo_log is None:
            raise InvariantError("rollback_to without a mark")
        while len(undo_log) > mark:
            undo = undo_log.pop()
            if isinstance(undo, Undo):
                undo.view.undo(undo)
                continue
            if not undo.was_dropped:
                del self._dropped[undo.run]
            before = dict(undo.views)
            for table_id, view in self._views.items():
                if table_id[0] != undo.run:
                    continue
                if table_id in before:
                    view.restore(before[table_id])
                elif not undo.was_dropped:
                    view.attach(self.snapshot.table(*table_id))

    @property
    def has_writes(self) -> bool:
        """Whether committing would change anything."""
        if self._dropped:
            return True
        for view in self._views.values():  # noqa: SIM110  (a generator costs more than what it looks at)
            if view.writes:
                return True
        return False

    def seal(self) -> CommitRequest:
        """Close the transaction for validation and return it as an immutable request. O(reads + writes).

        Raises:
            TransactionClosedError: it is not active.
            UsageError: it writes more bytes, has read more keys, or takes more of the log, than its limits and those
                of a frame allow; it stays active.
        """
        if self.status is not _ACTIVE:
            raise TransactionClosedError(self.status)
        slices: list[Slice] = []
        operations: list[PlainOperation] = []
        for run in self._dropped:
            operations.append((run,))  # noqa: PERF401  (hardly ever one; as a comprehension it costs each commit a call)
        reads = writes = 0
        expires = False
        for view in self._views.values():
            part_slice = view.slice()
            slices.append(part_slice)
            reads += len(part_slice.reads)
            if part_slice.writes:
                writes += len(part_slice.writes)
                operations.append((part_slice.run, part_slice.tag, part_slice.writes))
                expires = expires or view.has_deadlines
        if reads > self.limits.transaction_reads_max:
            most = self.limits.transaction_reads_max
            raise UsageError(f"the transaction writes and has read {reads} keys, at most {most} are allowed")
        if writes > UNCOUNTED_WRITES_MAX:
            self._require_size(slices)
        packed = encode_operations(operations)
        packed_bytes = len(packed)
        if packed_bytes > self.limits.transaction_bytes_max or packed_bytes > FRAME_BYTES_MAX - COMMIT_HEAD_BYTES_MAX:
            self._require_size(slices, packed_bytes)
        request = CommitRequest(
            self.id,
            self.start_version,
            tuple(slices),
            tuple(self._dropped),
            self.judges_drops,
            self.now_us,
            packed,
            expires,
        )
        self.finish(_VALIDATING)
        return request

    def finish(self, status: TransactionStatus) -> None:
        """Move to `status` and refuse every further operation.

        Raises:
            TransactionClosedError: the status table does not lead there.
        """
        if status not in TRANSITIONS[self.status]:
            raise TransactionClosedError(self.status)
        self.status = status
        scope = self._scope
        scope.ended_as = status
        if scope.undo_log is not None:
            # It names the views, which name it: together they would stay until the garbage collector comes by.
            scope.undo_log.clear()

    def _require_size(self, slices: list[Slice], packed_bytes: int = 0) -> None:
        """Raise UsageError if the writes are too many bytes, or take more of the log than a frame holds."""
        size_bytes = 0
        for part_slice in slices:
            for key, value, _ in part_slice.writes:
                size_bytes += len(key) if value is None else len(key) + len(value)
        most = self.limits.transaction_bytes_max
        if size_bytes > most:
            raise UsageError(f"the transaction writes {size_bytes} bytes, at most {most} are allowed")
        # Not the same: so many small writes, or names of runs, add up.
        record_bytes = packed_bytes + COMMIT_HEAD_BYTES_MAX
        if record_bytes > FRAME_BYTES_MAX:
            raise UsageError(
                f"the transaction takes {record_bytes} bytes in the log, at most {FRAME_BYTES_MAX} are allowed"
            )

    def _require_active(self) -> None:
        if self.status is not _ACTIVE:
            raise TransactionClosedError(self.status)


class RequestTransaction(Transaction):
    """What single operations are carried out on: nobody has decided anything by what it has shown of a dropped run.

    So whatever the run holds at the commit goes with it. Otherwise the operation, which is repeated until it succeeds,
    would lose for as long as there is somebody who keeps writing there.
    """

    judges_drops = False

    __slots__ = ()
