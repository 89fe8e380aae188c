"""The messages between the coordinator and its clients and primitive actors."""

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
    """Begin a transaction. The reply is `Begun`."""


class Begun(Message, frozen=True):
    """A transaction has begun: its id, and the newest snapshot."""

    transaction_id: int
    snapshot: Snapshot
    now_us: int
    """The transaction's time, microseconds since the epoch; it never decreases from one transaction to the next."""
    lease: Lease
    """Held by the client: the transaction counts as running until the lease is ended or dropped."""


class Commit(Message, frozen=True):
    """Commit a transaction. The reply is a `CommitOutcome` or `CommitRepeated`."""

    request: CommitRequest
    """Its transaction id is 0 if there was no `Begin`; the coordinator then assigns one."""
    attempt: int
    """0 for the first attempt at a piece of work, 1 for its first retry, ..."""
    group: tuple[str, int] | None = None
    """From a primitive actor: its name and the group's number. The actor's successor may have to send it again."""


class CancelCommit(Message, frozen=True):
    """Abort a commit that has not been sent to the log yet. The reply to the `Commit` says whether it was in time."""

    transaction_id: int
    timeout_s: float


class SettleCommit(Message, frozen=True):
    """Ask how a commit ended, from the thread that was interrupted while it sent the commit or waited for its outcome.

    If the commit has not been sent to the log yet, it is aborted. The reply is a `CommitOutcome`, once it is decided.
    """

    transaction_id: int
    start_version: int


class Committed(Message, frozen=True):
    """The transaction is in the log and visible to every transaction that begins from now on."""

    version: int


class CommitRefused(Message, frozen=True):
    """The transaction lost a conflict: others committed first. Nothing of it remains."""

    conflicts: tuple[Conflict, ...]


class CommitAborted(Message, frozen=True):
    """The transaction was not committed, for another reason. Nothing of it remains.

    Except with a `CommitOutcomeUnknownError`: then the commit was on its way to a log that can no longer be read.
    """

    error: InmemError


class CommitRepeated(Message, frozen=True):
    """The commit of this group has been received before. The reply to the earlier message carries the outcome."""


CommitOutcome = Committed | CommitRefused | CommitAborted


class CommitDecided(Message, frozen=True):
    """To a primitive actor or the reaper: the outcome of its commit, or that another reply will carry it."""

    group: int
    """The primitive actor's group, or the generation of the reaper that sent the commit."""
    outcome: CommitOutcome | CommitRepeated


class RetryDue(Message, frozen=True):
    """Timer → primitive actor: retry the group now."""

    group: int


class Drain(Message, frozen=True):
    """Accept no more commits. The reply, `Drained`, comes when none is in flight."""


class Drained(Message, frozen=True):
    """Every commit has been answered."""


class ReadOutcome(Message, frozen=True):
    """Ask for the version as which a transaction committed.

    The reply is (version or None, since). None proves that the transaction did not commit, provided that it began at
    version `since` or later.
    """

    salt: int
    transaction_id: int


class ReadOldest(Message, frozen=True):
    """Ask when the oldest running transaction began. The reply is in microseconds since the epoch."""


class ReadStats(Message, frozen=True):
    """Ask for the counters. The reply is `CoordinatorStats`."""


class CoordinatorStats(Message, frozen=True):
    """Counters since the store was opened; `inmem.Stats` documents each."""

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
    """(number of commits logged together, how often), ascending."""
