"""The transaction coordinator: hands out ids and snapshots, and takes every commit through the protocol.

The protocol itself, with its numbered steps and what a crash leaves at each, is in `engine/commits/pipeline.py`; this
actor turns the pipeline's decisions into messages. It also tracks running transactions and keeps the counters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from inmem.actors.dispatch.actor import LATER, Owed, StoreActor
from inmem.actors.event_log import QuietLogger
from inmem.actors.messages.core import (
    Append,
    Appended,
    AppendRefused,
    Applied,
    Apply,
    Release,
    SegmentRotated,
    Validate,
    Validated,
    WriteCheckpoint,
)
from inmem.actors.messages.reaping import Expiring
from inmem.actors.messages.transactions import (
    Begin,
    Begun,
    CancelCommit,
    Commit,
    CommitAborted,
    CommitRefused,
    CommitRepeated,
    Committed,
    CoordinatorStats,
    Drain,
    Drained,
    ReadOldest,
    ReadOutcome,
    ReadStats,
    SettleCommit,
)
from inmem.engine.commits.commit_token import CommitToken
from inmem.engine.commits.pipeline import CommitPipeline
from inmem.engine.errors import (
    CommitOutcomeUnknownError,
    DatabaseClosedError,
    InmemError,
    InvariantError,
    ReadOnlyError,
    StoreFailedError,
    TransactionAbortedError,
    TransactionTimeoutError,
)
from inmem.engine.keys import Tag
from inmem.engine.shown import shown_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inmem.actors.core.transaction_registry import TransactionRegistry
    from inmem.actors.dispatch.mailbox import Mailbox, MailboxRef, ReplyTo
    from inmem.actors.environment import StoreClock
    from inmem.actors.published import Published
    from inmem.engine.commits.conflicts import Conflict
    from inmem.engine.commits.part import Part
    from inmem.engine.commits.pipeline import InFlight
    from inmem.engine.commits.transaction import CommitRequest
    from inmem.engine.outcomes import Outcomes
    from inmem.engine.tables.snapshot import Snapshot
    from inmem.engine.version_ranges import Range

STORM_REFUSALS = 100
"""This many refused commits in a row, without a success in between, are logged as a conflict storm."""

log = QuietLogger("inmem.commit")


class Coordinator(StoreActor):
    """Begins and commits transactions. Also the `Outbox` of its `CommitPipeline`.

    Args:
        mailbox: its address.
        supervisor: told of failures.
        core: number of the core it belongs to.
        shards: the shards' addresses, in order.
        writer: the log writer's address.
        checkpointer: writes checkpoints; None without a log to write to.
        reaper: told of keys that will expire.
        published: where new snapshots are made visible.
        start: the published snapshot, on which commits build; an empty one if nothing will be committed.
        clock: the store's time.
        outcomes: the outcomes of the newest commits.
        salt: the salt of this opening.
        registry: the store's running transactions and its counts. Only the coordinator of the running core uses it.
        lost_versions: versions of the commits that were published and then lost, in any restart: a snapshot of one of
            them shows lost data. Ascending by their ends.
        refusal: why the store accepts no writes, or None.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        supervisor: MailboxRef,
        core: int,
        *,
        shards: Sequence[Mailbox],
        writer: Mailbox,
        checkpointer: MailboxRef | None,
        reaper: MailboxRef,
        published: Published,
        start: Snapshot,
        clock: StoreClock,
        outcomes: Outcomes,
        salt: int,
        registry: TransactionRegistry,
        lost_versions: tuple[Range, ...],
        refusal: InmemError | None,
    ) -> None:
        super().__init__(mailbox, supervisor, core)
        self._published = published
        self._clock = clock
        self._outcomes = outcomes
        self._salt = salt
        self.registry = registry
        self.lost_versions = lost_versions
        self.refusal = refusal
        self._pipeline: CommitPipeline[Owed] = CommitPipeline(self, start)
        # Mailboxes for the receivers of every commit, refs for the others.
        self._shards = shards
        self._writer = writer
        self._checkpointer = checkpointer
        self._reaper = reaper
        self._draining: Owed | None = None
        self._checkpoint: SegmentRotated | None = None
        self._refused_in_a_row = 0

    @property
    def published(self) -> Snapshot:
        """The newest snapshot that this coordinator has published, or started from."""
        return self._pipeline.published

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        # The messages of every commit are recognised by their exact type, at a third of the cost of a pattern.
        kind = message.__class__
        if kind is Begin:
            return self._begin()
        if kind is Validated:
            self._pipeline.verdict(message.transaction_id, message.shard, message.verdict)
            if self._draining is not None:
                self._continue_draining()
            return None
        if kind is Appended:
            self.registry.log_groups[len(message.transaction_ids)] += 1
            self._pipeline.appended(message.first_version, message.transaction_ids)
            return None
        if kind is Applied:
            self._pipeline.applied(message.shard, message.batch_version, message.root)
            if self._draining is not None:
                self._continue_draining()
            return None
        if kind is Commit:
            group = message.group
            if group is not None and self.registry.knows_group(*group):
                return CommitRepeated()
            # In this order, so that a known group has its answer, or is owed it.
            owed = self.owe(message)
            if group is not None:
                self.registry.note_group(*group)
            return self._commit(message.request, message.attempt, owed)
        match message:
            case AppendRefused(_, transaction_ids, error):
                self._pipeline.append_refused(transaction_ids, error)
                self._continue_draining()
            case CancelCommit(transaction_id, timeout_s):
                self._pipeline.cancel(transaction_id, TransactionTimeoutError(timeout_s))
                self._continue_draining()
            case SettleCommit(transaction_id, start_version):
                return self._settle(transaction_id, start_version)
            case SegmentRotated():
                self._checkpoint = message
                self._continue_checkpoint()
            case ReadOutcome(salt, transaction_id):
                return self._outcome(salt, transaction_id)
            case ReadStats():
                return self._stats()
            case ReadOldest():
                oldest = self.registry.oldest()
                return self._clock.now_us() if oldest is None else oldest[1]
            case Drain():
                self._draining = self.owe(message)
                self._continue_draining()
                return LATER
            case _:
                raise InvariantError(f"the coordinator cannot handle {type(message).__name__}")
        return None

    def fail(self, message: Any, reply_to: ReplyTo | None, error: BaseException) -> None:
        """Stop handling messages.

        A group's `Commit` may have been sent twice, by a primitive actor and by its successor. If the group is known,
        the other message has its answer or is owed one, and this one gets `CommitRepeated`. If not, the sender is told
        that the group was aborted and carries its requests out in a new group. So this group is noted: the other
        message, when it comes, must not commit it as well.
        """
        group = message.group if isinstance(message, Commit) else None
        if group is not None and reply_to is not None and not self._owes(reply_to):
            if self.registry.knows_group(*group):
                reply_to.set(CommitRepeated())
            else:
                # Answer first: if interrupted in between, this is called again, and a second answer changes nothing.
                # Note before the mailbox is suspended: from then on it keeps the message for this actor's successor.
                self.tell_failed(reply_to, error)
                self.registry.note_group(*group)
            reply_to = None
        super().fail(message, reply_to, error)

    def why_abandoned(self, owed: Owed) -> InmemError:
        """Return the answer to a request that this actor still owes when the store ends."""
        if isinstance(owed.message, Commit) and owed.transaction_id:
            return outcome_unknown(owed, self._salt, "the store has ended")
        return super().why_abandoned(owed)

    # Called by CommitPipeline.

    def validate(self, shard: int, part: Part) -> None:
        """Step 1."""
        self._dispatcher.pass_on(self._shards[shard], Validate(self.core, part))

    def release(self, shard: int, transaction_id: int) -> None:
        """Step 2."""
        self._dispatcher.pass_on(self._shards[shard], Release(self.core, transaction_id))

    def append(self, transaction_id: int, record: bytes) -> None:
        """Step 3."""
        self._dispatcher.pass_on(self._writer, Append(self.core, transaction_id, record))

    def apply(self, shard: int, batch_version: int, commits: tuple[tuple[int, int], ...]) -> None:
        """Step 4."""
        self._dispatcher.pass_on(self._shards[shard], Apply(self.core, batch_version, commits))

    def publish(self, snapshot: Snapshot, commits: Sequence[tuple[InFlight[Owed], int]]) -> None:
        """Step 5."""
        self._published.snapshot = snapshot
        self._published.feed.extend(commits)
        if self._checkpoint is not None:
            self._continue_checkpoint()

    def committed(self, reply: Owed, request: CommitRequest, version: int) -> None:
        """Step 6."""
        self._outcomes.record(self._salt, request.transaction_id, version)
        self.registry.note_committed(request, version)
        self._refused_in_a_row = 0
        reply.answer(Committed(version))
        if request.expires:
            expiring = [
                (expires_at, part_slice.run, key)
                for part_slice in request.slices
                if part_slice.tag == Tag.KV
                for key, _, expires_at in part_slice.writes
                if expires_at
            ]
            if expiring:
                self._reaper.send(Expiring(tuple(expiring)), None)

    def refused(self, reply: Owed, request: CommitRequest, conflicts: tuple[Conflict, ...]) -> None:
        """Tell a client why its commit was refused."""
        self.registry.end(request.transaction_id)
        self.registry.count_refusal(conflicts)
        self._refused_in_a_row += 1
        if self._refused_in_a_row == STORM_REFUSALS:
            log.warning("conflict_storm", refused_in_a_row=STORM_REFUSALS, latest=[str(c) for c in conflicts[:3]])
            self._refused_in_a_row = 0
        reply.answer(CommitRefused(conflicts))

    def aborted(self, reply: Owed, request: CommitRequest, error: Exception) -> None:
        """Tell a client that its commit was aborted."""
        self.registry.end(request.transaction_id)
        self.registry.aborts += 1
        if not isinstance(error, InmemError):
            raise InvariantError(f"a commit was aborted with {shown_failure(error)}") from error
        reply.answer(CommitAborted(error))

    def _begin(self) -> Begun:
        # In a store read beside its owner, this is newer than what went through the pipeline.
        snapshot = self._published.snapshot
        now_us = self._clock.now_us()
        lease = self.registry.begin(snapshot.version, now_us)
        return Begun(self.registry.transaction_id, snapshot, now_us, lease)

    def _commit(self, request: CommitRequest, attempt: int, owed: Owed) -> Any:
        if request.transaction_id == 0:
            request = replace(request, transaction_id=self.registry.next_id())
        owed.transaction_id = request.transaction_id
        self.registry.retries += attempt > 0
        refusal = self._why_not(request)
        if refusal is not None:
            self.aborted(owed, request, refusal)
        else:
            self._pipeline.commit(request, owed)
        return LATER

    def _settle(self, transaction_id: int, start_version: int) -> Any:
        for owed in self.owed:
            if isinstance(owed.message, Commit) and owed.transaction_id == transaction_id:
                # The commit's own reply was lost by the thread that waited for it.
                owed.reply_to = self._reply_to
                self._pipeline.cancel(transaction_id, TransactionAbortedError("it was interrupted, and is withdrawn"))
                self._continue_draining()
                return LATER
        version = self._outcomes.version_in_any_opening(transaction_id)
        if version is not None:
            return Committed(version)
        if isinstance(self.refusal, StoreFailedError):
            raise self.refusal.anew()
        if start_version < self._outcomes.since:
            token = CommitToken(self._salt, transaction_id, start_version)
            return CommitAborted(CommitOutcomeUnknownError(str(token), "it is too old to be remembered"))
        # It never came here, or its refusal did not reach the thread that waited for it.
        self.registry.end(transaction_id)
        return CommitAborted(TransactionAbortedError("it was interrupted before it was committed"))

    def _outcome(self, salt: int, transaction_id: int) -> tuple[int | None, int]:
        version = self._outcomes.version_of(salt, transaction_id)
        if version is None and isinstance(self.refusal, StoreFailedError):
            # What the log holds is unknown until it has been read again.
            raise self.refusal.anew()
        if version is None and isinstance(self.refusal, ReadOnlyError):
            raise ReadOnlyError("what a reader has not seen committed may still commit: ask where it can be written to")
        return version, self._outcomes.since

    def _why_not(self, request: CommitRequest) -> InmemError | None:
        if self._draining is not None:
            return DatabaseClosedError()
        if self.refusal is not None:
            return self.refusal
        lost = self.lost_versions
        if (
            lost
            and request.start_version <= lost[-1][1]
            and any(first <= request.start_version <= last for first, last in lost)
        ):
            return TransactionAbortedError("it began before a restart that lost part of what it had seen")
        return None

    def _continue_checkpoint(self) -> None:
        rotated = self._checkpoint
        snapshot = self._pipeline.published
        if rotated is None or self._checkpointer is None or snapshot.version < rotated.base_version:
            return
        self._checkpoint = None
        outcomes = tuple(self._outcomes.up_to(snapshot.version).items())
        self._checkpointer.tell(
            WriteCheckpoint(
                self.core,
                snapshot,
                rotated.number,
                self.registry.transaction_id,
                self._clock.floor_us,
                outcomes,
                self._outcomes.since,
            )
        )

    def _continue_draining(self) -> None:
        """Tell the supervisor once nothing is in flight. Runs between two messages, when all answers have been sent."""
        if self._draining is not None and self._pipeline.in_flight == 0:
            self._draining.answer(Drained())

    def _stats(self) -> CoordinatorStats:
        registry = self.registry
        oldest = registry.oldest()
        return CoordinatorStats(
            commits=registry.commits,
            aborts=registry.aborts,
            refused=registry.refused,
            conflicts=tuple(sorted(registry.conflicts.items())),
            retries=registry.retries,
            in_flight=self._pipeline.in_flight,
            active_transactions=registry.active_count(),
            oldest_start_version=None if oldest is None else oldest[0],
            oldest_age_s=0.0 if oldest is None else (self._clock.now_us() - oldest[1]) / 1e6,
            groups=tuple(sorted(registry.log_groups.items())),
        )


def outcome_unknown(owed: Owed, salt: int, reason: str) -> CommitOutcomeUnknownError:
    """Return the answer to a commit if it is unknown whether the log holds it; the salt is that of its core."""
    token = CommitToken(salt, owed.transaction_id, owed.message.request.start_version)
    return CommitOutcomeUnknownError(str(token), reason)
