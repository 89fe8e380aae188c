"""What the five primitive actors have in common: requests become transactions, and crowds become few of them.

A request is carried out on a transaction that begins at the newest snapshot. While the commit of one group is in
flight, further requests wait; then they are carried out together, in the order in which they came, on one transaction.
Fifty agents that append to one log at once cost a handful of commits.

Inside a group each request stands alone: one that fails is taken back to its mark, and the others go on. Answers,
refusals included, go out when the group has committed, because a refusal may rest on what a neighbour wrote. When the
group loses against another commit, all of it is carried out again on a fresh snapshot.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Final

from msgspec import Struct

from inmem.actors.actor import LATER, Owed, StoreActor
from inmem.actors.event_log import QuietLogger
from inmem.actors.intake import refusal_of
from inmem.actors.mailbox import AsMessage
from inmem.actors.messages.message import Message
from inmem.actors.messages.transactions import (
    Commit,
    CommitAborted,
    CommitDecided,
    CommitRefused,
    Committed,
    Drain,
    Drained,
)
from inmem.engine.errors import (
    DatabaseClosedError,
    InmemError,
    InvariantError,
    OverloadedError,
    TransactionAbortedError,
    UsageError,
)
from inmem.engine.limits import DEFAULT_LIMITS
from inmem.engine.retry import RetryPolicy
from inmem.engine.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.actors.environment import StoreClock
    from inmem.actors.mailbox import Mailbox, MailboxRef
    from inmem.actors.published import Published
    from inmem.engine.limits import Limits
    from inmem.engine.ports import Entropy

GROUP_REQUESTS_MAX = 256
"""Requests carried out on one transaction: a longer group would make its first request wait for its last."""

BACKOFF_AFTER = 8
"""Lost attempts after which the actor pauses before the next: until then it is quicker to try again at once."""

ABORTS_MAX = 20
"""How often in a row the store may abort a group, without a conflict, before its requests are refused."""

COMMIT_VERSION: Final = object()
"""The result of a request whose answer is the version that its group will have committed as."""

_BACKOFF = RetryPolicy()

log = QuietLogger("inmem.requests")


class Postpone(Exception):  # noqa: N818  (not an error: it never leaves this module and its subclasses)
    """Raised by `perform`: the request needs a version that this group has not got yet; it opens the next group."""


class RetryDue(Message, frozen=True):
    """Timer → primitive actor: carry the group out again now."""

    group: int | None
    """None: whatever the group."""


class Refusal(Struct, frozen=True):
    """The answer to a request that failed."""

    error: InmemError


class PrimitiveActor(StoreActor):
    """Base of the primitive actors; subclasses write `perform`.

    Args:
        mailbox: its address.
        supervisor: told of failures.
        coordinator: takes the commits.
        published: the newest snapshot.
        clock: the store's time.
        entropy: for ids and jitter.
        limits: of what may be written and what may wait.
        predecessor: the failed actor whose requests this one takes over.
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
        limits: Limits = DEFAULT_LIMITS,
        predecessor: PrimitiveActor | None = None,
    ) -> None:
        super().__init__(mailbox, supervisor)
        self._coordinator = coordinator
        self._published = published
        self._clock = clock
        self._entropy = entropy
        self._limits = limits
        self._waiting: deque[Owed] = deque()
        self._in_flight: list[tuple[Owed, Any]] | None = None
        self._group = 0
        self._attempt = 0
        self._aborts = 0
        self._requests_max = GROUP_REQUESTS_MAX
        self._draining: Owed | None = None
        self._overloaded = False
        if predecessor is not None:
            self._take_over(predecessor)

    HANDLES: ClassVar[tuple[type[Any], ...]] = ()
    """The request classes that are routed to this actor."""

    def perform(self, txn: Transaction, message: Any) -> Any:
        """Carry one request out on `txn`; return its answer or `COMMIT_VERSION`, or raise what the caller is to get."""
        raise NotImplementedError

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        if type(message) is CommitDecided:
            if message.group == self._group and self._in_flight is not None:
                self._decide(message.outcome)
            return None
        if type(message) is RetryDue:
            if message.group in (None, self._group) and self._in_flight is None:
                self._carry_out()
            return None
        if type(message) is Drain:
            self._draining = self.owe(message)
            self._continue_draining()
            return LATER
        # Whoever told instead of asking gets no answer, and must not bring the actor down either.
        owed = self.owe(message)
        if self._draining is not None:
            owed.refuse(DatabaseClosedError())
            return LATER
        ahead = len(self._waiting)
        if ahead and (refusal := refusal_of(self.mailbox.name, message, ahead, self._limits)) is not None:
            self._note_overload(refusal)
            owed.refuse(refusal)
            return LATER
        self._waiting.append(owed)
        if self._in_flight is None and self._attempt == 0:
            self._carry_out()
        return LATER

    def retire(self) -> None:
        """Stop for good, and tell those who still wait."""
        for owed in tuple(self.owed):
            owed.refuse(DatabaseClosedError())
        super().retire()

    def _carry_out(self) -> None:
        """Carry out what waits, group by group, until one is in flight or nothing waits."""
        while self._waiting:
            now_us = self._clock.now_us()
            txn = Transaction(0, self._published.snapshot, now_us, self._entropy, limits=self._limits)
            group = self._perform_group(txn)
            self._group += 1
            if not group:
                # The only request was refused, and has its answer.
                continue
            if not txn.has_writes:
                self._answer(group, txn.start_version)
                continue
            try:
                commit = Commit(txn.seal(), self._attempt)
            except UsageError as error:
                self._split(group, error)
                continue
            decided = AsMessage(self.mailbox.ref, self._decided())
            # Not the other way round: an interruption between the two lines would leave a group in flight that nobody
            # ever decides.
            self._coordinator.send(commit, decided)
            self._in_flight = group
            return
        # A group that lost may have nothing to write the next time: then there is nobody left to pause for.
        self._attempt = 0
        self._overloaded = False
        self._continue_draining()

    def _note_overload(self, refusal: OverloadedError) -> None:
        """Log the first refusal of a row, which ends when nothing waits any more."""
        if not self._overloaded:
            self._overloaded = True
            log.warning("overloaded", actor=self.mailbox.name, waiting=len(self._waiting), error=str(refusal))

    def _split(self, group: list[tuple[Owed, Any]], error: UsageError) -> None:
        """Together they write more than a transaction may: carry them out in smaller groups."""
        if len(group) == 1:
            group[0][0].refuse(error)
            return
        self._waiting.extendleft(owed for owed, _ in reversed(group))
        self._requests_max = len(group) // 2

    def _decided(self) -> Callable[[Any, BaseException | None], CommitDecided]:
        group = self._group

        def decided(outcome: Any, error: BaseException | None) -> CommitDecided:
            if error is not None:
                outcome = CommitAborted(error if isinstance(error, InmemError) else DatabaseClosedError())
            return CommitDecided(group, outcome)

        return decided

    def _perform_group(self, txn: Transaction) -> list[tuple[Owed, Any]]:
        """Carry out requests on `txn`, as many as may share it; none if the only one was refused."""
        group: list[tuple[Owed, Any]] = []
        # Whoever is alone can be refused at once, and the transaction thrown away: nothing has to be taken back.
        alone = len(self._waiting) == 1
        while self._waiting and len(group) < self._requests_max:
            owed = self._waiting[0]
            mark = 0 if alone else txn.mark()
            try:
                result = self.perform(txn, owed.message)
            except Postpone:
                if not group:
                    raise InvariantError("a request that opens its group postpones itself") from None
                break
            except Exception as error:
                if not isinstance(error, InmemError) or isinstance(error, InvariantError):
                    # This request brings the actor down. It must not bring its successor down as well.
                    self._waiting.popleft().refuse(
                        TransactionAbortedError(f"the {self.mailbox.name} actor failed: {error!r}")
                    )
                    raise
                if alone:
                    self._waiting.popleft().refuse(error)
                    return []
                txn.rollback_to(mark)
                result = Refusal(error)
            group.append((self._waiting.popleft(), result))
        return group

    def _decide(self, outcome: Any) -> None:
        group = self._in_flight or []
        is_aborted = isinstance(outcome, CommitAborted) and isinstance(outcome.error, TransactionAbortedError)
        self._aborts = self._aborts + 1 if is_aborted else 0
        if isinstance(outcome, Committed):
            self._attempt = 0
            self._requests_max = GROUP_REQUESTS_MAX
            self._answer(group, outcome.version)
            self._in_flight = None
        elif isinstance(outcome, CommitRefused) or (is_aborted and self._aborts <= ABORTS_MAX):
            self._in_flight = None
            self._waiting.extendleft(owed for owed, _ in reversed(group))
            self._attempt += 1
            if self._attempt > BACKOFF_AFTER:
                delay_s = _BACKOFF.delay_s(self._attempt - BACKOFF_AFTER, self._entropy.uniform())
                self.mailbox.dispatcher.post_later(delay_s, self.mailbox, RetryDue(self._group))
                return
        else:
            self._attempt = 0
            self._refuse(group, outcome.error)
            self._in_flight = None
        self._carry_out()

    def _answer(self, group: list[tuple[Owed, Any]], version: int) -> None:
        for owed, result in group:
            if result is COMMIT_VERSION:
                owed.answer(version)
            elif isinstance(result, Refusal):
                owed.refuse(result.error)
            else:
                owed.answer(result)

    @staticmethod
    def _refuse(group: list[tuple[Owed, Any]], error: InmemError) -> None:
        # Those too that had been refused already: that may rest on what a neighbour wrote, which is not there.
        for owed, _ in group:
            owed.refuse(error)

    def _continue_draining(self) -> None:
        if self._draining is not None and not self._waiting and self._in_flight is None:
            self._draining.answer(Drained(0))

    def _take_over(self, predecessor: PrimitiveActor) -> None:
        """Go on where the failed actor stopped; a group in flight is answered when its `CommitDecided` arrives.

        Wherever it stopped, what it owed is complete and in the order of arrival; its waiting line may not be.
        """
        self._in_flight = predecessor._in_flight
        self._group = predecessor._group
        self._attempt = predecessor._attempt
        self._aborts = predecessor._aborts
        self._requests_max = predecessor._requests_max
        in_flight = {owed for owed, _ in self._in_flight or ()}
        for owed in tuple(predecessor.owed):
            owed.move_to(self)
            if type(owed.message) is Drain:
                self._draining = owed
            elif owed not in in_flight:
                self._waiting.append(owed)
        # All at once, and at last: should this be cut short, the next successor takes over from the same one.
        predecessor.owed.clear()
