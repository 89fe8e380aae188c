"""What must hold in every run, checked from outside: by watching the messages and reading the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.coordinator import Coordinator
from inmem.actors.messages.control import Resume
from inmem.actors.messages.core import Append, Appended, AppendRefused
from inmem.actors.messages.transactions import CommitDecided, Committed
from inmem.engine.errors import InmemError
from inmem.engine.log_records import decode_commit
from inmem.engine.recovery import Recovery

if TYPE_CHECKING:
    from inmem.actors.mailbox import Mailbox
    from inmem.engine.snapshot import Snapshot


class BrokenPromise(AssertionError):
    """The store did something that it promises never to do."""


class CommitLedger:
    """Watches one store's commits, and checks what a crash has left of them.

    It knows the order in which records were handed to the log and which of them somebody was told of. Whenever a core
    starts, after a crash of the process or of an actor, the recovered state must be the fold of a prefix of that order,
    and the prefix must reach to the last one told of.

    Args:
        durable: whether what somebody was told of must survive; in the weaker modes a suffix may be lost.
    """

    def __init__(self, *, durable: bool) -> None:
        self._durable = durable
        self._core = 0
        self._records: list[tuple[int, bytes]] = []
        self._base = Recovery()
        self._acked_version = 0
        self._version = 0

    @property
    def acked_version(self) -> int:
        """The highest version that somebody was told of."""
        return self._acked_version

    def observe(self, mailbox: Mailbox, message: Any) -> None:
        """Take note of a message that is being delivered."""
        if isinstance(message, Resume):
            if isinstance(message.actor, Coordinator):
                self._core = message.actor.core
                if message.actor.refusal is None:
                    self._check_recovered(message.actor)
        elif isinstance(message, Append | AppendRefused | Appended) and message.core != self._core:
            return
        elif isinstance(message, Append):
            self._records.append((message.transaction_id, message.record))
        elif isinstance(message, AppendRefused):
            refused = set(message.transaction_ids)
            self._records = [entry for entry in self._records if entry[0] not in refused]
        elif isinstance(message, Appended):
            self._check_order(message)
        elif isinstance(message, CommitDecided) and isinstance(message.outcome, Committed):
            self.acked(message.outcome.version)

    def acked(self, version: int) -> None:
        """Somebody was told that `version` is committed."""
        self._acked_version = max(self._acked_version, version)

    def _check_recovered(self, coordinator: Coordinator) -> None:
        snapshot = coordinator.published
        first = self._version + 1
        # When a suffix was lost inside a living process, versions continue above what had been published.
        reached = snapshot.version if coordinator.lost_after is None else coordinator.lost_after
        if self._durable and reached < self._acked_version:
            raise BrokenPromise(f"version {self._acked_version} was acknowledged, only {reached} was recovered")
        if reached - self._version > len(self._records):
            raise BrokenPromise(
                f"version {reached} was recovered, but only {len(self._records)} were handed to the log"
            )
        if reached < self._version and self._durable:
            raise BrokenPromise(f"version {reached} was recovered after {self._version} had been")
        kept = self._records[: max(0, reached - self._version)]
        if reached < self._version:
            raise BrokenPromise(f"version {reached} was recovered after {self._version} had been")
        for version, (_, record) in enumerate(kept, first):
            self._base.apply(version, decode_commit(record, "ledger", 0), 0)
        expected = self._base.result(1)
        found = {
            (run, tag, key): entry for run, tag, table in snapshot.tables() for key, entry in table.range() if entry
        }
        wanted = {
            (run, tag, key): entry for (run, tag), table in expected.roots[0].items() for key, entry in table.range()
        }
        if found != wanted:
            odd = sorted(set(found.items()) ^ set(wanted.items()), key=repr)[:3]
            raise BrokenPromise(f"the recovered state is not that of the first {reached} commits; it differs in {odd}")
        self._records = []
        self._version = self._acked_version = snapshot.version

    def _check_order(self, message: Appended) -> None:
        at = message.first_version - self._version - 1
        logged = tuple(transaction_id for transaction_id, _ in self._records[at : at + len(message.transaction_ids)])
        if logged != message.transaction_ids:
            raise BrokenPromise(f"the log numbered {message.transaction_ids}, it was handed {logged} in that place")


def check_store(snapshot: Snapshot) -> None:
    """Check every table's own invariants.

    Raises:
        BrokenPromise: one does not hold.
    """
    try:
        snapshot.check()
    except InmemError as error:
        raise BrokenPromise(str(error)) from error
