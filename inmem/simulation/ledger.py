"""Acked ⊆ recovered, prefix, atomic: a ledger that watches the messages of one store and checks what the store shows.

The ledger stands outside the code under test: it computes the expected state itself, by folding the records that were
handed to the log, and asks no actor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.core.coordinator import Coordinator
from inmem.actors.messages.control import Resume
from inmem.actors.messages.core import Append, Appended, AppendRefused
from inmem.actors.messages.transactions import Committed
from inmem.engine.log.log_records import DropRun, TableWrites, decode_commit
from inmem.engine.log.recovered_state import Recovery
from inmem.simulation.promises import BrokenPromise

if TYPE_CHECKING:
    from inmem.actors.published import Published
    from inmem.engine.log.log_records import CommitRecord
    from inmem.engine.tables.snapshot import Snapshot

    State = dict[tuple[str, int, bytes], tuple[int, bytes | None, int]]


class CommitLedger:
    """Watches one store's commits, and checks what a crash has left of them.

    It knows the order in which records were handed to the log, and which commits were acknowledged. Whenever a core
    starts, after a crash of the process or of an actor, the recovered state must be the fold of a prefix of that order,
    and the prefix must include the last acknowledged commit.

    Attributes:
        durable: whether commits acknowledged from now on must survive; in the weaker modes a suffix may be lost.
        acked_version: the highest acknowledged version.
        published: where the store makes snapshots visible; set when the store has started.
        lost: whether a suffix of the acknowledged commits has been lost, which the weaker modes allow.
        failed: whether the store refuses writes.
    """

    def __init__(self) -> None:
        self.durable = True
        self._core = 0
        # Handed to the log since the core started, in order: transaction id and record.
        self._handed: list[tuple[int, bytes]] = []
        self._numbered = 0
        # Commits that a recovery has proven: version and record.
        self._proven: list[tuple[int, CommitRecord]] = []
        self._version = 0
        # Commits up to this version must survive, as promised by this opening or an earlier one.
        self._durable_version = 0
        self.acked_version = 0
        self.published: Published | None = None
        self.lost = False
        self.failed = False

    def observe(self, message: Any) -> None:
        """Record a message that is being sent."""
        if isinstance(message, Resume):
            actor = message.actor
            if isinstance(actor, Coordinator):
                self._core = actor.core
                self.failed = actor.refusal is not None
                if not self.failed:
                    self._check_recovered(actor)
        elif isinstance(message, Append | AppendRefused | Appended) and message.core == self._core:
            if isinstance(message, Append):
                self._handed.append((message.transaction_id, message.record))
            elif isinstance(message, Appended):
                self._check_order(message)
            else:
                refused = set(message.transaction_ids)
                self._handed = [entry for entry in self._handed if entry[0] not in refused]

    def answered(self, value: Any) -> None:
        """Record an answer. A commit must be completely visible before it is acknowledged."""
        if not isinstance(value, Committed):
            return
        version = value.version
        self.acked_version = max(self.acked_version, version)
        if self.durable:
            self._durable_version = self.acked_version
        if self.published is None:
            return
        snapshot = self.published.snapshot
        if snapshot.version < version:
            raise BrokenPromise(f"version {version} was acknowledged while {snapshot.version} was visible")
        at = version - self._version - 1
        if at < 0:
            return
        records = [decode_commit(record, "ledger", 0) for _, record in self._handed[at:]]
        for key, found in _shown(records, snapshot):
            if found < version:
                raise BrokenPromise(f"version {version} was acknowledged, yet {key} shows version {found}")

    def check_visible(self) -> None:
        """Check, at rest, that the visible state is that of all logged commits.

        Raises:
            BrokenPromise: it is not.
        """
        if self.published is None or self.failed:
            return
        if len(self._handed) != self._numbered:
            raise BrokenPromise(f"{len(self._handed)} commits were handed to the log, {self._numbered} were numbered")
        last = self._version + self._numbered
        if self.published.snapshot.version != last:
            raise BrokenPromise(f"version {self.published.snapshot.version} is visible, {last} were logged")
        self._check_state(self.published.snapshot, [*self._proven, *self._decoded(self._numbered)])

    def _check_recovered(self, coordinator: Coordinator) -> None:
        snapshot = coordinator.published
        # If a suffix was lost while the process lived on, versions continue above the last one published.
        lost = coordinator.lost_versions
        reached = lost[-1][0] - 1 if lost and lost[-1][1] == snapshot.version - 1 else snapshot.version
        if reached < self._durable_version:
            raise BrokenPromise(f"version {self._durable_version} was acknowledged, only {reached} was recovered")
        if reached < self._version:
            # Under weak durability, even a recovered commit may vanish later: it had been read, not synced.
            self._proven = [entry for entry in self._proven if entry[0] <= reached]
            self._handed = []
        elif reached - self._version > len(self._handed):
            raise BrokenPromise(f"version {reached} was recovered, only {len(self._handed)} were handed to the log")
        if coordinator.core > 1 and snapshot.version < self.acked_version:
            raise BrokenPromise(f"version {snapshot.version} follows {self.acked_version} in one process")
        self.lost = self.lost or reached < self.acked_version
        self._proven += self._decoded(max(0, reached - self._version))
        self._check_state(snapshot, self._proven)
        self._handed = []
        self._numbered = 0
        self._version = self.acked_version = snapshot.version
        if self.durable:
            self._durable_version = snapshot.version

    def _check_order(self, message: Appended) -> None:
        at = message.first_version - self._version - 1
        count = len(message.transaction_ids)
        logged = tuple(transaction_id for transaction_id, _ in self._handed[at : at + count])
        if at != self._numbered or logged != message.transaction_ids:
            raise BrokenPromise(
                f"the log numbered {message.transaction_ids} from {message.first_version}, "
                f"it was handed {logged} in that place and had numbered {self._numbered} before"
            )
        self._numbered += count

    def _decoded(self, count: int) -> list[tuple[int, CommitRecord]]:
        return [
            (version, decode_commit(record, "ledger", 0))
            for version, (_, record) in enumerate(self._handed[:count], self._version + 1)
        ]

    def _check_state(self, snapshot: Snapshot, commits: list[tuple[int, CommitRecord]]) -> None:
        recovery = Recovery()
        for version, record in commits:
            recovery.apply(version, record, 0)
        wanted: State = {
            (run, tag, key): entry
            for (run, tag), table in recovery.result(1).roots[0].as_dict().items()
            for key, entry in table.range()
        }
        found: State = {(run, tag, key): entry for run, tag, table in snapshot.tables() for key, entry in table.range()}
        if found != wanted:
            odd = sorted(set(found.items()) ^ set(wanted.items()), key=repr)[:3]
            raise BrokenPromise(
                f"the state at version {snapshot.version} is not that of {len(commits)} commits; it differs in {odd}"
            )


def _shown(records: list[CommitRecord], snapshot: Snapshot) -> list[tuple[str, int]]:
    """Return every key that the first record wrote, with the version that the snapshot shows for it.

    Runs that the first record or a later one deleted are left out: they may no longer show anything.
    """
    dropped = {operation.run for record in records for operation in record.operations if isinstance(operation, DropRun)}
    shown: list[tuple[str, int]] = []
    for operation in records[0].operations:
        if isinstance(operation, TableWrites) and operation.run not in dropped:
            table = snapshot.table(operation.run, operation.tag)
            for key, _, _ in operation.writes:
                entry = None if table is None else table.get(key)
                shown.append((f"{key!r} of run {operation.run!r}", 0 if entry is None else entry[0]))
    return shown
