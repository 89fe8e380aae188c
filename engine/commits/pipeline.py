"""The order of commits: from sealed transaction to published snapshot, as a state machine without I/O.

The coordinator actor and the tests cite these steps by number:

    1  commit      a sealed transaction arrives; its parts go to the shards that own them
    2  verdict     every shard has answered
                     all prepared: the transaction is ready to be logged
                     some refused: the prepared parts are released, the client learns of every conflict once what
                     it lost to is published, so that a retry sees it
                     some blocked: the prepared parts are released; once the blockers are decided, back to 1
    3  append      ready transactions go to the log, strictly in the order in which they were sent to validation
    4  appended    the log has them, and has numbered them; the shards apply them
    5  publish     every shard concerned has applied; the new snapshot replaces the old one
    6  answer      only now do the clients learn that they have committed

Why this is sound. Shards receive parts in the order of step 1, and the log receives records in the same order (step 3),
so "validated against everything before it" and "logged after everything before it" mean the same. Of two transactions
that touch one key, only the one sent to validation later can wait for the other, so there are no deadlocks.

What a crash leaves. Before 3: nothing. During 3: the log decides, and recovery answers from its content. After 4: the
commit, although perhaps no client has been told of it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from msgspec import Struct

from inmem.engine.commits.part import Part
from inmem.engine.commits.shard import Blocked, Prepared, Refused, Verdict
from inmem.engine.errors import InvariantError
from inmem.engine.keys import shard_of
from inmem.engine.tables.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inmem.engine.commits.conflicts import Conflict
    from inmem.engine.commits.transaction import CommitRequest
    from inmem.engine.tables.snapshot import Root

ReplyT = TypeVar("ReplyT")
ReplyT_contra = TypeVar("ReplyT_contra", contravariant=True)


class Outbox(Protocol[ReplyT_contra]):
    """Where the pipeline sends its decisions. Each call becomes a message; none may call back into the pipeline."""

    def validate(self, shard: int, part: Part) -> None:
        """Step 1: ask a shard for its verdict."""
        ...

    def release(self, shard: int, transaction_id: int) -> None:
        """Step 2: tell a shard to give up a prepared part."""
        ...

    def append(self, transaction_id: int, record: bytes) -> None:
        """Step 3: hand a record to the log."""
        ...

    def apply(self, shard: int, batch_version: int, commits: tuple[tuple[int, int], ...]) -> None:
        """Step 4: have a shard apply (transaction id, version) pairs, in this order."""
        ...

    def publish(self, snapshot: Snapshot, commits: Sequence[tuple[InFlight[Any], int]]) -> None:
        """Step 5: begin new transactions from this snapshot. `commits` are the (commit, version) pairs that it adds."""
        ...

    def committed(self, reply: ReplyT_contra, request: CommitRequest, version: int) -> None:
        """Step 6: the transaction is committed and visible."""
        ...

    def refused(self, reply: ReplyT_contra, request: CommitRequest, conflicts: tuple[Conflict, ...]) -> None:
        """The transaction is refused; `conflicts` are all its conflicts."""
        ...

    def aborted(self, reply: ReplyT_contra, request: CommitRequest, error: Exception) -> None:
        """The transaction was not committed for another reason, given by `error`."""
        ...


class InFlight(Struct, Generic[ReplyT], eq=False):
    """A commit in flight."""

    request: CommitRequest
    reply: ReplyT
    parts: tuple[tuple[int, Part], ...]
    record: bytes
    verdicts: dict[int, Verdict]
    is_prepared: bool = True
    """Whether every verdict so far lets it commit."""
    cancelled: Exception | None = None


class Batch(Struct, Generic[ReplyT], eq=False):
    """Commits that the log wrote together and that become visible together."""

    commits: list[tuple[InFlight[ReplyT], int]]
    awaited: set[int]
    roots: dict[int, Root]


class CommitPipeline(Generic[ReplyT]):
    """Takes commits through the six steps. Knows nothing of actors, files or time.

    Args:
        outbox: receives every decision.
        snapshot: the published snapshot from which to continue.
    """

    def __init__(self, outbox: Outbox[ReplyT], snapshot: Snapshot) -> None:
        self._out = outbox
        self._shard_count = len(snapshot.roots)
        self._published = snapshot
        self._validating: OrderedDict[int, InFlight[ReplyT]] = OrderedDict()
        # Commits that wait for the decision of others, with the ids of those.
        self._blocked: dict[int, tuple[InFlight[ReplyT], set[int]]] = {}
        # Commits refused because of another commit that a shard has applied but that is not published yet, with that
        # other commit's version, and all the conflicts.
        self._losers: dict[int, tuple[InFlight[ReplyT], int, tuple[Conflict, ...]]] = {}
        self._waiters: dict[int, list[int]] = {}
        self._appending: OrderedDict[int, InFlight[ReplyT]] = OrderedDict()
        self._applying: dict[int, Batch[ReplyT]] = {}
        self._logged_version = snapshot.version

    @property
    def in_flight(self) -> int:
        """The number of commits in flight."""
        applying = sum(len(batch.commits) for batch in self._applying.values())
        return len(self._validating) + len(self._blocked) + len(self._losers) + len(self._appending) + applying

    @property
    def published(self) -> Snapshot:
        """The newest published snapshot."""
        return self._published

    def commit(self, request: CommitRequest, reply: ReplyT) -> None:
        """Step 1. O(slices)."""
        parts: tuple[tuple[int, Part], ...] = ((0, request),) if self._shard_count == 1 else self._split(request)
        if not parts:
            raise InvariantError(f"transaction {request.transaction_id} did nothing: no shard would ever judge it")
        self._validate(InFlight(request, reply, parts, request.record(), {}))

    def verdict(self, transaction_id: int, shard: int, verdict: Verdict) -> None:
        """Step 2: a shard has answered."""
        in_flight = self._validating.get(transaction_id)
        if in_flight is None or shard in in_flight.verdicts:
            raise InvariantError(f"shard {shard} judged transaction {transaction_id}, which is not being validated")
        in_flight.verdicts[shard] = verdict
        if type(verdict) is not Prepared:
            in_flight.is_prepared = False
        if len(in_flight.verdicts) < len(in_flight.parts):
            return
        if in_flight.cancelled is None and in_flight.is_prepared:
            self._append_ready()
        else:
            self._turn_down(in_flight)

    def appended(self, first_version: int, transaction_ids: Sequence[int]) -> None:
        """Step 4: the log has these transactions, with consecutive versions from `first_version` in this order."""
        if first_version <= self._logged_version:
            raise InvariantError(f"the log numbered {first_version} after {self._logged_version}")
        commits: list[tuple[InFlight[ReplyT], int]] = []
        by_shard: dict[int, list[tuple[int, int]]] = {}
        version = first_version - 1
        for transaction_id in transaction_ids:
            in_flight = self._pop_appending(transaction_id)
            version += 1
            commits.append((in_flight, version))
            for shard, _ in in_flight.parts:
                if shard in by_shard:
                    by_shard[shard].append((transaction_id, version))
                else:
                    by_shard[shard] = [(transaction_id, version)]
        self._logged_version = version
        self._applying[version] = Batch(commits, set(by_shard), {})
        for shard, pairs in by_shard.items():
            self._out.apply(shard, version, tuple(pairs))

    def append_refused(self, transaction_ids: Sequence[int], error: Exception) -> None:
        """Step 4, the failing case: the log could not take these transactions and contains nothing of them."""
        for transaction_id in transaction_ids:
            in_flight = self._pop_appending(transaction_id)
            self._release(in_flight)
            self._out.aborted(in_flight.reply, in_flight.request, error)
            self._wake_waiters(transaction_id)

    def applied(self, shard: int, batch_version: int, root: Root) -> None:
        """Steps 5 and 6: a shard has applied its part of a batch."""
        batch = self._applying.get(batch_version)
        if batch is None or shard not in batch.awaited:
            raise InvariantError(f"shard {shard} applied batch {batch_version}, which it was not asked for")
        batch.awaited.remove(shard)
        batch.roots[shard] = root
        while self._applying:
            oldest = next(iter(self._applying))
            if self._applying[oldest].awaited:
                return
            self._publish(oldest, self._applying.pop(oldest))

    def cancel(self, transaction_id: int, error: Exception) -> None:
        """Abort a commit with `error` if it has not been sent to the log yet; otherwise its outcome stands."""
        in_flight = self._validating.get(transaction_id)
        if in_flight is not None:
            in_flight.cancelled = error
            return
        waiting = self._losers.pop(transaction_id, None) or self._blocked.pop(transaction_id, None)
        if waiting is not None:
            self._out.aborted(waiting[0].reply, waiting[0].request, error)

    def check(self) -> None:
        """Raise `InvariantError` unless each commit is in one stage and each one that waits has commits to wait for."""
        applying = [flight.request.transaction_id for batch in self._applying.values() for flight, _ in batch.commits]
        staged = [*self._validating, *self._blocked, *self._losers, *self._appending, *applying]
        if len(staged) != len(set(staged)):
            raise InvariantError("a commit is in two stages at once")
        decided = set(self._validating) | set(self._appending) | set(applying)
        for transaction_id, (_, waits_for) in self._blocked.items():
            if not waits_for or not waits_for <= decided:
                raise InvariantError(f"transaction {transaction_id} waits for nobody in flight")
        for transaction_id, (_, version, _) in self._losers.items():
            if not self._published.version < version <= self._logged_version:
                raise InvariantError(f"transaction {transaction_id} waits for version {version} to be published")

    def _split(self, request: CommitRequest) -> tuple[tuple[int, Part], ...]:
        slices: dict[int, list[int]] = {}
        for index, part_slice in enumerate(request.slices):
            slices.setdefault(shard_of(part_slice.run, self._shard_count), []).append(index)
        drops: dict[int, list[str]] = {}
        for run in request.dropped_runs:
            shard = shard_of(run, self._shard_count)
            drops.setdefault(shard, []).append(run)
            slices.setdefault(shard, [])
        return tuple(
            (
                shard,
                Part(
                    request.transaction_id,
                    request.start_version,
                    tuple(request.slices[index] for index in slices[shard]),
                    tuple(drops.get(shard, ())),
                    request.judges_drops,
                ),
            )
            for shard in sorted(slices)
        )

    def _validate(self, in_flight: InFlight[ReplyT]) -> None:
        self._validating[in_flight.request.transaction_id] = in_flight
        for shard, part in in_flight.parts:
            self._out.validate(shard, part)

    def _turn_down(self, in_flight: InFlight[ReplyT]) -> None:
        """Step 2 for a commit that cannot proceed: it is cancelled, refused, or blocked by an undecided commit."""
        transaction_id = in_flight.request.transaction_id
        conflicts: list[Conflict] = []
        blockers: set[int] = set()
        for shard, _ in in_flight.parts:
            verdict = in_flight.verdicts[shard]
            if isinstance(verdict, Refused):
                conflicts += verdict.conflicts
            elif isinstance(verdict, Blocked):
                blockers |= verdict.transaction_ids
        del self._validating[transaction_id]
        self._release(in_flight)
        if in_flight.cancelled is not None:
            self._out.aborted(in_flight.reply, in_flight.request, in_flight.cancelled)
        elif blockers:
            self._wait(in_flight, blockers)
        else:
            lost_to = max(conflict.current_version for conflict in conflicts)
            if lost_to > self._published.version:
                self._losers[transaction_id] = (in_flight, lost_to, tuple(conflicts))
            else:
                self._out.refused(in_flight.reply, in_flight.request, tuple(conflicts))
        self._wake_waiters(transaction_id)
        self._append_ready()

    def _append_ready(self) -> None:
        """Step 3. The head of the queue holds back the rest, so the log's order is the order of validation."""
        validating = self._validating
        while validating:
            transaction_id = next(iter(validating))
            in_flight = validating[transaction_id]
            if len(in_flight.verdicts) < len(in_flight.parts):
                return
            del validating[transaction_id]
            if in_flight.cancelled is not None:
                self._release(in_flight)
                self._out.aborted(in_flight.reply, in_flight.request, in_flight.cancelled)
                self._wake_waiters(transaction_id)
                continue
            self._appending[transaction_id] = in_flight
            self._out.append(transaction_id, in_flight.record)

    def _wait(self, in_flight: InFlight[ReplyT], blockers: set[int]) -> None:
        transaction_id = in_flight.request.transaction_id
        in_flight.verdicts = {}
        in_flight.is_prepared = True
        waits_for = {blocker for blocker in blockers if self._is_undecided(blocker)}
        if not waits_for:
            self._validate(in_flight)
            return
        self._blocked[transaction_id] = in_flight, waits_for
        for blocker in sorted(waits_for):
            self._waiters.setdefault(blocker, []).append(transaction_id)

    def _is_undecided(self, transaction_id: int) -> bool:
        return (
            transaction_id in self._validating
            or transaction_id in self._appending
            or any(
                flight.request.transaction_id == transaction_id
                for batch in self._applying.values()
                for flight, _ in batch.commits
            )
        )

    def _wake_waiters(self, transaction_id: int) -> None:
        """Validate again the commits that waited only for this transaction, now decided or no longer prepared."""
        for waiter_id in self._waiters.pop(transaction_id, ()):
            if waiter_id in self._blocked:
                waiter, waits_for = self._blocked[waiter_id]
                waits_for.discard(transaction_id)
                if not waits_for:
                    del self._blocked[waiter_id]
                    self._validate(waiter)

    def _release(self, in_flight: InFlight[ReplyT]) -> None:
        for shard, _ in in_flight.parts:
            if isinstance(in_flight.verdicts.get(shard), Prepared):
                self._out.release(shard, in_flight.request.transaction_id)

    def _pop_appending(self, transaction_id: int) -> InFlight[ReplyT]:
        first = next(iter(self._appending), None)
        if first != transaction_id:
            raise InvariantError(f"the log answered for {transaction_id}, the next in order is {first}")
        return self._appending.popitem(last=False)[1]

    def _publish(self, version: int, batch: Batch[ReplyT]) -> None:
        roots = tuple(batch.roots.values())
        if self._shard_count > 1:
            roots = tuple([batch.roots.get(shard, root) for shard, root in enumerate(self._published.roots)])
        self._published = Snapshot(version, roots)
        self._out.publish(self._published, batch.commits)
        for in_flight, commit_version in batch.commits:
            self._out.committed(in_flight.reply, in_flight.request, commit_version)
        if self._losers:
            self._answer_losers()
        if self._waiters:
            for in_flight, _ in batch.commits:
                self._wake_waiters(in_flight.request.transaction_id)

    def _answer_losers(self) -> None:
        losers, self._losers = self._losers, {}
        for transaction_id, (in_flight, version, conflicts) in losers.items():
            if version > self._published.version:
                self._losers[transaction_id] = (in_flight, version, conflicts)
            else:
                self._out.refused(in_flight.reply, in_flight.request, conflicts)
