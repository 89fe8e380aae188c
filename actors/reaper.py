"""The reaper frees the memory of expired keys.

Readers do not need it: for them an expired key is absent from its deadline on. So it may take its time. It works in
ordinary small commits, and never touches a key that a running transaction could still see alive: it reaps by the time
of the oldest transaction, not by its own.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from inmem.actors.dispatch.actor import StoreActor
from inmem.actors.dispatch.decision_reply import DecisionReply
from inmem.actors.dispatch.mailbox import AsMessage
from inmem.actors.messages.reaping import Expiring, FindExpiring, FindMore, OldestRunning, ReapDue, ReconcileDeadlines
from inmem.actors.messages.transactions import Commit, CommitAborted, CommitDecided, Committed, ReadOldest
from inmem.engine.commits.transaction import Transaction
from inmem.engine.errors import InvariantError
from inmem.engine.keys import Tag
from inmem.engine.tables.deadlines import Deadlines
from inmem.engine.tables.entry import deadline_of
from inmem.primitives.expiry import reap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.actors.dispatch.mailbox import Mailbox, MailboxRef
    from inmem.actors.environment import StoreClock
    from inmem.actors.published import Published
    from inmem.engine.ports import Entropy
    from inmem.engine.tables.deadlines import Deadline
    from inmem.engine.tables.snapshot import Snapshot

KEYS_PER_COMMIT_MAX = 1_000
"""Small enough that a reaping commit delays nobody. Halved after each refused commit, as when one of its keys was just
rewritten: the keys that expired first come first, and keys that are rewritten all the time come last."""

KEYS_PER_LOOK_MAX = 1_000
"""Recovered keys and tables searched for deadlines in one go: half a millisecond, while everything else waits. As many
deadlines are reconciled in one go, and fewer are not worth it."""

PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 60.0
"""Between two rounds: expired keys may wait a moment, and clocks may jump while nobody looks."""

DOUBLINGS_MAX = 10
"""How often the shortest pause is doubled, once for each round in a row that was not written: up to the longest."""

HALVINGS_MAX = 10
"""How often the number of keys in a commit is halved: down to a single one."""


class Reaper(StoreActor):
    """Turns expired keys into tombstones.

    Args:
        mailbox: its address.
        supervisor: told of failures.
        coordinator: takes the commits, and knows the oldest transaction.
        published: holds the newest snapshot.
        clock: the store's time.
        entropy: for transactions.
        generation: distinguishes this reaper from failed ones before it, whose last commit may still be under way.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        supervisor: MailboxRef,
        *,
        coordinator: MailboxRef,
        published: Published,
        clock: StoreClock,
        entropy: Entropy,
        generation: int,
    ) -> None:
        super().__init__(mailbox, supervisor)
        self._coordinator = coordinator
        self._published = published
        self._clock = clock
        self._entropy = entropy
        self._generation = generation
        self._expiring = Deadlines()
        # The rest of the snapshot, still to be searched for deadlines that no message has told.
        self._recovered: Iterator[Deadline] = iter(())
        # If there are more deadlines than this, some may be those of keys long gone: reconcile them with the snapshot.
        self._reconcile_beyond = KEYS_PER_LOOK_MAX
        self._is_reconciling = False
        self._timer_runs = False
        self._reaping: list[Deadline] = []
        self._halvings = 0
        self._aborted_in_a_row = 0

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        match message:
            case Expiring(entries):
                self._expiring.note(entries)
                self._wait()
                if len(self._expiring) > self._reconcile_beyond and not self._is_reconciling:
                    self._is_reconciling = True
                    self._reconcile((0, "", b""))
            case ReapDue():
                self._timer_runs = False
                self._ask_for_oldest()
            case OldestRunning(now_us):
                self._reap(min(now_us, self._clock.now_us()))
            case CommitDecided(generation, outcome):
                if generation == self._generation:
                    self._note(outcome)
            case FindExpiring():
                # Deadlines committed later are told.
                self._recovered = _expiring_entries(self._published.snapshot)
                self._look_through_recovered()
            case FindMore():
                self._look_through_recovered()
            case ReconcileDeadlines(after):
                self._reconcile(after)
            case _:
                raise InvariantError(f"the reaper cannot handle {type(message).__name__}")

    def _look_through_recovered(self) -> None:
        found = list(islice(self._recovered, KEYS_PER_LOOK_MAX))
        self._expiring.note(entry for entry in found if entry[0])
        if len(found) == KEYS_PER_LOOK_MAX:
            self.ref.tell(FindMore())
        self._wait()

    def _reconcile(self, after: Deadline) -> None:
        """Forget deadlines of keys deleted or rewritten without one: the number of keys bounds that of deadlines.

        Runs whenever there are twice as many as were left, so each new deadline is reconciled twice on average.
        """
        some = self._expiring.after(after, KEYS_PER_LOOK_MAX)
        self._expiring.reconcile(some, self._published.snapshot)
        if len(some) == KEYS_PER_LOOK_MAX:
            self.ref.tell(ReconcileDeadlines(some[-1]))
        else:
            self._is_reconciling = False
            self._reconcile_beyond = max(KEYS_PER_LOOK_MAX, 2 * len(self._expiring))

    def _wait(self) -> None:
        """Set the timer for the next deadline, unless it runs or a commit is under way."""
        first_us = self._expiring.first_us()
        if first_us is None or self._timer_runs or self._reaping:
            return
        until_s = (first_us - self._clock.now_us()) / 1e6
        self._timer_runs = True
        # While nothing can be written, frequent retries would only fill the application's log.
        pause_s = PAUSE_MIN_S * 2 ** min(self._aborted_in_a_row, DOUBLINGS_MAX)
        delay_s = min(max(until_s, pause_s), PAUSE_MAX_S)
        self.mailbox.dispatcher.post_later(delay_s, self.mailbox, ReapDue(), idle=True)

    def _go_on(self, done: list[Deadline]) -> None:
        """Begin the next round: at once if this one was full, or the backlog might only grow."""
        is_full = len(done) == self._keys_max
        self._halvings = max(0, self._halvings - 1)
        if is_full and not self._timer_runs:
            self._timer_runs = True
            self.ref.tell(ReapDue())
        else:
            self._wait()

    def _ask_for_oldest(self) -> None:
        first_us = self._expiring.first_us()
        if first_us is not None and first_us <= self._clock.now_us():
            self._coordinator.send(ReadOldest(), AsMessage(self.ref, _oldest))
        else:
            self._wait()

    def _reap(self, before_us: int) -> None:
        if self._reaping:
            return
        due = self._expiring.due(before_us, self._keys_max)
        txn = Transaction(0, self._published.snapshot, self._clock.now_us(), self._entropy)
        for run, keys in _by_run(due).items():
            reap(txn, run, keys, before_us)
        if txn.has_writes:
            self._reaping = due
            self._coordinator.send(Commit(txn.seal(), 0), DecisionReply(self.ref, self._generation))
        else:
            # The keys were rewritten or deleted, or their run was dropped: nothing is left to do about them.
            self._aborted_in_a_row = 0
            self._expiring.reconcile(due, txn.snapshot)
            self._go_on(due)

    def _note(self, outcome: Any) -> None:
        reaped, self._reaping = self._reaping, []
        if isinstance(outcome, Committed):
            self._aborted_in_a_row = 0
            self._expiring.forget(reaped)
            self._go_on(reaped)
        else:
            if isinstance(outcome, CommitAborted):
                self._aborted_in_a_row += 1
            else:
                self._aborted_in_a_row = 0
                self._halvings = min(self._halvings + 1, HALVINGS_MAX)
            self._wait()

    @property
    def _keys_max(self) -> int:
        return max(1, KEYS_PER_COMMIT_MAX >> self._halvings)


class RestingReaper(StoreActor):
    """Replaces a reaper that keeps failing. Expired keys are as absent as ever, but stay in memory.

    Its messages need not be kept: a new reaper searches the snapshot.
    """

    def on_receive(self, message: Any) -> None:
        """Do nothing."""


def _expiring_entries(snapshot: Snapshot) -> Iterator[Deadline]:
    """Yield (deadline, run, key) of every KVStore entry, in any order; the deadline is 0 for entries without one.

    Each table first yields an item with deadline 0, so that no step goes through more than one table: other actors may
    have their turn between two steps, whatever the runs hold. Only the list of all tables is copied at once.
    """
    for root in snapshot.roots:
        for (run, tag), table in root.as_dict().items():
            yield (0, run, b"")
            if tag == Tag.KV:
                for key, stored in table.stored_range():
                    yield (deadline_of(stored), run, key)


def _by_run(entries: list[Deadline]) -> dict[str, list[bytes]]:
    keys: dict[str, list[bytes]] = {}
    for _, run, key in entries:
        keys.setdefault(run, []).append(key)
    return keys


def _oldest(now_us: Any, error: BaseException | None) -> OldestRunning:
    # The coordinator that was asked is closing or restarting: reap nothing now.
    return OldestRunning(0 if error is not None else now_us)
