"""Which transactions run, and how those that ended have fared. Outlives the coordinators that keep it."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from inmem.actors.core.lease import Lease, LeaseRef
from inmem.engine.commits.conflicts import KIND_NAMES

if TYPE_CHECKING:
    from inmem.actors.core.lease import Ended
    from inmem.engine.commits.conflicts import Conflict
    from inmem.engine.commits.transaction import CommitRequest


class TransactionRegistry:
    """Ids given, running transactions, and counts since the store was opened.

    Attributes:
        transaction_id: the highest id given so far.
        commits, aborts, refused, retries: see `inmem.Stats`; `refused` counts the aborts that were due to conflicts.
        conflicts: refused commits by kind of conflict.
        log_groups: how often so many commits were logged together.
        last_drop_version: of the last commit that dropped a run: who began before it may have seen a run that is gone.
    """

    def __init__(self) -> None:
        self.transaction_id = 0
        self.commits = 0
        self.aborts = 0
        self.refused = 0
        self.last_drop_version = 0
        self.retries = 0
        self.conflicts: Counter[str] = Counter()
        self.log_groups: Counter[int] = Counter()
        self._newest_request_groups: dict[str, int] = {}
        # In the order of their ids, which is the order of their start versions and times.
        self._active: dict[int, tuple[int, int, LeaseRef]] = {}
        # Those that have ended without a commit, in whatever thread that was.
        self._ended: Ended = deque()
        self._note_ended = self._ended.append

    def knows_group(self, actor: str, group: int) -> bool:
        """Return whether the commit of that group of a primitive actor's is known, or of a later one. O(1)."""
        return group <= self._newest_request_groups.get(actor, 0)

    def note_group(self, actor: str, group: int) -> None:
        """Take note of the commit of a primitive actor's group: if it comes once more, it is the same one. O(1)."""
        if group > self._newest_request_groups.get(actor, 0):
            self._newest_request_groups[actor] = group

    def next_id(self) -> int:
        """Return a fresh id."""
        self.transaction_id += 1
        return self.transaction_id

    def begin(self, start_version: int, now_us: int) -> Lease:
        """Take note of a transaction that begins; return its lease. O(1), amortized."""
        if self._ended:
            self._strike_out()
        self.transaction_id = transaction_id = self.transaction_id + 1
        lease = Lease(transaction_id, self._ended)
        held = LeaseRef(lease, self._note_ended)
        held.transaction_id = transaction_id
        self._active[transaction_id] = (start_version, now_us, held)
        return lease

    def end(self, transaction_id: int) -> None:
        """Take note of the end of a transaction, if it was begun here. O(1)."""
        self._active.pop(transaction_id, None)

    def active_count(self) -> int:
        """Return how many transactions run. O(those that have ended since the last look)."""
        self._strike_out()
        return len(self._active)

    def oldest(self) -> tuple[int, int] | None:
        """Return (start version, begin in microseconds) of the oldest running transaction, or None.

        Complexity: O(those that have ended since the last look); a dict is slow to find its first entry when a million
        before it were removed, until it grows again.
        """
        self._strike_out()
        for start_version, now_us, _ in self._active.values():
            return start_version, now_us
        return None

    def note_committed(self, request: CommitRequest, version: int) -> None:
        """Take note of a commit, and so of the end of its transaction. O(1)."""
        self._active.pop(request.transaction_id, None)
        self.commits += 1
        if request.dropped_runs:
            self.last_drop_version = max(version, self.last_drop_version)

    def _strike_out(self) -> None:
        ended = self._ended
        while ended:
            gone = ended[0]
            # Of a `begin` that was cut short, the reference may not know whose it is. Then nobody else does.
            self._active.pop(getattr(gone, "transaction_id", 0) if isinstance(gone, LeaseRef) else gone, None)
            # Not before: cut short in between, it is struck out once more.
            ended.popleft()

    def count_refusal(self, conflicts: tuple[Conflict, ...]) -> None:
        """Count a commit that was refused. One commit can meet several kinds of conflict."""
        self.aborts += 1
        self.refused += 1
        for kind in {type(conflict) for conflict in conflicts}:
            self.conflicts[KIND_NAMES[kind]] += 1
