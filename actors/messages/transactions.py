"""What clients and primitive actors say to the coordinator, and hear from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.messages.message import Message

if TYPE_CHECKING:
    from inmem.actors.core.lease import Lease
    from inmem.engine.commits.conflicts import Conflict
    from inmem.engine.commits.transaction import CommitRequest
    from inmem.engine.errors import InmemError
    from inmem.engine.tables.snapshot import Snapshot


class Begin(Message, frozen=True):
    """Give me a transaction id and the newest snapshot. Answered by `Begun`."""


class Begun(Message, frozen=True):
    """A transaction has begun."""

    transaction_id: int
    snapshot: Snapshot
    now_us: int
    """The transaction's time, microseconds since the epoch; it never decreases from one transaction to the next."""
    lease: Lease
    """The transaction counts as running while somebody holds this, and until it says that it has ended."""


class Commit(Message, frozen=True):
    """Commit this. Answered by a `CommitOutcome`, or by `CommitRepeated`."""

    request: CommitRequest
    """Its transaction id is 0 when no `Begin` went before; the coordinator then gives it one."""
    attempt: int
    """0 for the first try of a piece of work, 1 for its first retry, ..."""
    group: tuple[str, int] | None = None
    """Of a primitive actor's, its name and the number of the group: its successor may have to send it once more."""


class CancelCommit(Message, frozen=True):
    """Abort a commit that has not gone to the log yet. Its own answer tells whether that was in time."""

    transaction_id: int
    timeout_s: float


class Committed(Message, frozen=True):
    """The transaction is in the log and visible to everybody who begins from now on."""

    version: int


class CommitRefused(Message, frozen=True):
    """Others committed first; nothing of the transaction remains."""

    conflicts: tuple[Conflict, ...]


class CommitAborted(Message, frozen=True):
    """The transaction was not committed for another reason; nothing of it remains.

    Unless `error` is a `CommitOutcomeUnknownError`: then it was on its way to a log that nobody can read any more.
    """

    error: InmemError


class CommitRepeated(Message, frozen=True):
    """The commit of this group has come before; how it goes is the answer to that one."""


CommitOutcome = Committed | CommitRefused | CommitAborted


class CommitDecided(Message, frozen=True):
    """To a primitive actor: how the commit of its group went, or that another answer will say so."""

    group: int
    outcome: CommitOutcome | CommitRepeated


class RetryDue(Message, frozen=True):
    """Timer → primitive actor: carry the group out again now."""

    group: int


class Drain(Message, frozen=True):
    """Accept no more commits, and tell when none is on its way any more."""


class Drained(Message, frozen=True):
    """Every commit has been answered."""


class ReadOutcome(Message, frozen=True):
    """As which version did this transaction commit?

    Answered by (version or None, since): None proves that it did not commit if it began at version `since` or later.
    """

    salt: int
    transaction_id: int


class ReadOldest(Message, frozen=True):
    """Since when does the oldest running transaction run? Answered in microseconds since the epoch."""


class ReadStats(Message, frozen=True):
    """Answered by `CoordinatorStats`."""


class CoordinatorStats(Message, frozen=True):
    """Counters since the store was opened; see `inmem.Stats` for what each means."""

    commits: int
    aborts: int
    refused: int
    conflicts: tuple[tuple[str, int], ...]
    retries: int
    in_flight: int
    active_transactions: int
    oldest_start_version: int | None
    oldest_age_s: float
    groups: tuple[tuple[int, int], ...]
    """(commits that were logged together, how often), ascending."""
