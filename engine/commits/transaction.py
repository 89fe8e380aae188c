"""A transaction: a snapshot to read from, buffered writes, and a record of everything that validation checks.

The states of a transaction (`TRANSITIONS` is this table):

    active ──▶ validating ──▶ committed
       │           │
       └───────────┴────────▶ aborted

This module sends no messages. `seal` turns the transaction into an immutable `CommitRequest`, which the coordinator
takes through validation and the log.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeAlias

from inmem.engine.commits.part import Part, Slice
from inmem.engine.commits.scope import Scope
from inmem.engine.commits.table_view import TableView
from inmem.engine.commits.undo import Undo, UndoDrop
from inmem.engine.errors import InvariantError, TransactionClosedError, UsageError
from inmem.engine.ids import time_ordered_id
from inmem.engine.limits import DEFAULT_LIMITS, FRAME_BYTES_MAX
from inmem.engine.log.log_records import COMMIT_HEAD_BYTES_MAX, encode_commit, encode_operations
from inmem.engine.noncopyable import NonCopyable
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table

if TYPE_CHECKING:
    from msgspec import Raw

    from inmem.engine.commits.view import View
    from inmem.engine.limits import Limits
    from inmem.engine.log.log_records import PlainOperation
    from inmem.engine.ports import Entropy


class Isolation(StrEnum):
    """How far concurrent transactions may affect each other; docs/transactions.md lists the anomalies at each level.

    Attributes:
        SNAPSHOT: reads come from one snapshot; the keys read are validated at commit.
        SERIALIZABLE: scanned ranges are validated too.
    """

    SNAPSHOT = "snapshot"
    SERIALIZABLE = "serializable"


IsolationName: TypeAlias = Isolation | Literal["snapshot", "serializable"]
"""The isolation argument of `db.begin` and `db.transaction`: a level, or its name."""


class TransactionStatus(StrEnum):
    """The state of a transaction.

    Attributes:
        ACTIVE: it accepts reads and writes.
        VALIDATING: it is being committed.
        COMMITTED: all its writes are visible.
        ABORTED: none of its writes took effect.
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


_NOTHING: Final = Snapshot.empty(1)
_SERIALIZABLE: Final = Isolation.SERIALIZABLE
_ACTIVE: Final = TransactionStatus.ACTIVE
_VALIDATING: Final = TransactionStatus.VALIDATING


class CommitRequest(Part, frozen=True):
    """A sealed transaction: its reads, expectations and writes. With a single shard it serves as the only part."""

    timestamp_us: int
    operations: Raw
    """The operations, encoded for the log: the drops first, then the writes, table by table."""
    expires: bool
    """Whether any write may have a deadline."""

    def record(self) -> bytes:
        """Return the log record. O(bytes)."""
        return encode_commit((self.transaction_id, self.timestamp_us, self.operations))


UNCOUNTED_WRITES_MAX: Final = 16
"""Up to this many writes are encoded at once, and their sizes added up only if the encoded record is too large."""


class Transaction(NonCopyable):
    """Reads one snapshot, buffers writes, and remembers what must still hold at commit. Not thread-safe.

    Args:
        transaction_id: unique in the life of the database.
        snapshot: the state that the transaction reads.
        now_us: the transaction's fixed time, in microseconds since the epoch; expiry is judged by it.
        entropy: the source of random bits for new ids.
        isolation: whether scanned ranges are remembered too.
        limits: the limits on what the transaction reads and writes.

    Attributes:
        judges_drops: whether a run that the transaction drops must be unchanged since the snapshot.
    """

    judges_drops: ClassVar[bool] = True

    __slots__ = (
        "_dropped",
        "_entropy",
        "_ordinal",
        "_scope",
        "_views",
        "id",
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
        self.limits = limits
        self.status: TransactionStatus = _ACTIVE
        self._entropy = entropy
        self._ordinal = 0
        self._scope = Scope(now_us, isolation is _SERIALIZABLE)
        self._views: dict[tuple[str, int], TableView] = {}
        self._dropped: dict[str, None] = {}

    def view(self, run: str, tag: int) -> View:
        """Return this transaction's view of one table of `run`; always the same object. O(1)."""
        table_id = (run, tag)
        view = self._views.get(table_id)
        if view is None:
            if self.status is not _ACTIVE:
                raise TransactionClosedError(self.status)
            view = TableView(self._scope, table_id, self.snapshot.table(run, tag) or Table.EMPTY)
            if run in self._dropped:
                view.forget()
            self._views[table_id] = view
        return view

    def drop_run(self, run: str) -> None:
        """Delete every table of `run` in this commit; later writes to the run start with empty tables. O(tables).

        If `judges_drops` is true, the transaction then conflicts with any commit to the run after its snapshot.
        """
        self._require_active()
        views = tuple((table_id, view) for table_id, view in self._views.items() if table_id[0] == run)
        undo_log = self._scope.undo_log
        if undo_log is not None:
            before = tuple((table_id, view.copy()) for table_id, view in views)
            undo_log.append(UndoDrop(run, run in self._dropped, before))
        self._dropped[run] = None
        for _, view in views:
            view.forget()

    def new_id(self) -> str:
        """Return a fresh time-ordered id."""
        self._require_active()
        return time_ordered_id(self.now_us, self._entropy)

    def next_ordinal(self) -> int:
        """Return 0, 1, 2, …: the number of earlier calls. `rollback_to` does not reset it."""
        ordinal = self._ordinal
        self._ordinal = ordinal + 1
        return ordinal

    def mark(self) -> int:
        """Return a savepoint for `rollback_to`."""
        self._require_active()
        if self._scope.undo_log is None:
            self._scope.undo_log = []
        return len(self._scope.undo_log)

    def wrote_over(self, mark: int) -> bool:
        """Return whether a write since `mark` replaced or removed a write buffered before it. O(writes since)."""
        since = (self._scope.undo_log or [])[mark:]
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
        """Undo every write since `mark`. Reads stay remembered. O(writes since)."""
        self._require_active()
        undo_log = self._scope.undo_log
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
        """Whether the transaction has anything to commit."""
        if self._dropped:
            return True
        for view in self._views.values():  # noqa: SIM110  (a generator would cost more than the loop)
            if view.writes:
                return True
        return False

    def seal(self) -> CommitRequest:
        """Close the transaction for validation and return it as an immutable request. O(reads + writes).

        Raises:
            TransactionClosedError: the transaction is not active.
            UsageError: the transaction writes more bytes or has read more keys than its limits allow, or its log
                record is larger than a frame may be; it stays active.
        """
        if self.status is not _ACTIVE:
            raise TransactionClosedError(self.status)
        slices: list[Slice] = []
        operations: list[PlainOperation] = []
        for run in self._dropped:
            operations.append((run,))  # noqa: PERF401  (rarely any; a comprehension would cost each commit a call)
        reads = writes = 0
        for view in self._views.values():
            part_slice = view.slice()
            slices.append(part_slice)
            reads += len(part_slice.reads)
            if part_slice.writes:
                writes += len(part_slice.writes)
                run, tag = view.table_id
                operations.append((run, tag, part_slice.writes))
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
            self._scope.has_deadlines,
        )
        self.finish(_VALIDATING)
        return request

    def finish(self, status: TransactionStatus) -> None:
        """Move to `status` and refuse all further operations.

        Raises:
            TransactionClosedError: `TRANSITIONS` does not allow the change.
        """
        if status not in TRANSITIONS[self.status]:
            raise TransactionClosedError(self.status)
        self.status = status
        scope = self._scope
        scope.ended_as = status
        if scope.undo_log is not None:
            # Break the reference cycle between the log and the views: only the garbage collector would free it.
            scope.undo_log.clear()

    def release(self) -> None:
        """Let go of the snapshot, and of everything read and written, once it has been sealed or aborted. O(tables)."""
        self.snapshot = _NOTHING
        for view in self._views.values():
            view.release()

    def _require_size(self, slices: list[Slice], packed_bytes: int = 0) -> None:
        """Raise UsageError if the writes have too many bytes, or the log record would not fit into a frame."""
        size_bytes = 0
        for part_slice in slices:
            for key, value, _ in part_slice.writes:
                size_bytes += len(key) if value is None else len(key) + len(value)
        most = self.limits.transaction_bytes_max
        if size_bytes > most:
            raise UsageError(f"the transaction writes {size_bytes} bytes, at most {most} are allowed")
        # Checked as well: the overhead of many small writes, or of run ids, can exceed the frame limit by itself.
        record_bytes = packed_bytes + COMMIT_HEAD_BYTES_MAX
        if record_bytes > FRAME_BYTES_MAX:
            raise UsageError(
                f"the transaction takes {record_bytes} bytes in the log, at most {FRAME_BYTES_MAX} are allowed"
            )

    def _require_active(self) -> None:
        if self.status is not _ACTIVE:
            raise TransactionClosedError(self.status)


class RequestTransaction(Transaction):
    """The transaction of single operations: no caller has based a decision on what it showed of a dropped run.

    So it deletes whatever the run holds at the commit. Otherwise the operation, which is retried until it succeeds,
    would conflict for as long as another client keeps writing to the run.
    """

    judges_drops = False

    __slots__ = ()
