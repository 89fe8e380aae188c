"""Which transactions run, and how earlier ones ended. Outlives the coordinators, which use it one after the other."""

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
        log_groups: how often each number of commits was logged together.
        last_drop_version: version of the last commit that dropped a run: a transaction that began before it may have
            seen a run that is gone.
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
        # In the order of their ids, which is also that of their times. Start versions may fall, where a reader's folder
        # gets another history.
        self._active: dict[int, tuple[int, int, LeaseRef]] = {}
        # Transactions that have ended without a `Commit` message, appended by any thread.
        self._ended: Ended = deque()
        self._note_ended = self._ended.append

    def knows_group(self, actor: str, group: int) -> bool:
        """Return whether the commit of this group of a primitive actor, or of a later group, is known. O(1)."""
        return group <= self._newest_request_groups.get(actor, 0)

    def note_group(self, actor: str, group: int) -> None:
        """Note the commit of a primitive actor's group, so that a repetition of it is recognised. O(1)."""
        if group > self._newest_request_groups.get(actor, 0):
            self._newest_request_groups[actor] = group

    def next_id(self) -> int:
        """Return a fresh id."""
        self.transaction_id += 1
        return self.transaction_id

    def begin(self, start_version: int, now_us: int) -> Lease:
        """Note the beginning of a transaction and return its lease. Amortized O(1)."""
        if self._ended:
            self._remove_ended()
        self.transaction_id = transaction_id = self.transaction_id + 1
        lease = Lease(transaction_id, self._ended)
        held = LeaseRef(lease, self._note_ended)
        held.transaction_id = transaction_id
        self._active[transaction_id] = (start_version, now_us, held)
        return lease

    def end(self, transaction_id: int) -> None:
        """Note the end of a transaction, if it began here. O(1)."""
        self._active.pop(transaction_id, None)

    def active_count(self) -> int:
        """Return the number of running transactions. O(transactions that have ended since the last call)."""
        self._remove_ended()
        return len(self._active)

    def oldest(self) -> tuple[int, int] | None:
        """Return (start version, start time in microseconds) of the oldest running transaction, or None.

        Complexity: O(transactions that have ended since the last call). After a million that began earlier have ended,
        Python takes a millisecond to find the first entry of the dict, until the dict grows again.
        """
        self._remove_ended()
        for start_version, now_us, _ in self._active.values():
            return start_version, now_us
        return None

    def note_committed(self, request: CommitRequest, version: int) -> None:
        """Note a commit, and so the end of its transaction. O(1)."""
        self._active.pop(request.transaction_id, None)
        self.commits += 1
        if request.dropped_runs:
            self.last_drop_version = max(version, self.last_drop_version)

    def _remove_ended(self) -> None:
        ended = self._ended
        while ended:
            gone = ended[0]
            # If `begin` was interrupted, the reference may lack its id; then the transaction was never registered.
            self._active.pop(getattr(gone, "transaction_id", 0) if isinstance(gone, LeaseRef) else gone, None)
            # Only now: if this is interrupted, the next call removes it.
            ended.popleft()

    def count_refusal(self, conflicts: tuple[Conflict, ...]) -> None:
        """Count a refused commit. One commit can have several kinds of conflict."""
        self.aborts += 1
        self.refused += 1
        for kind in {type(conflict) for conflict in conflicts}:
            self.conflicts[KIND_NAMES[kind]] += 1
