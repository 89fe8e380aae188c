"""What the five primitive actors have in common: they turn requests into transactions, and many requests into few.

The decisions about requests are in `engine/commits/request_groups.py`; this module accepts requests and sends their
commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from inmem.actors.dispatch.actor import LATER, Owed, StoreActor
from inmem.actors.dispatch.decision_reply import DecisionReply
from inmem.actors.dispatch.intake import refusal_of
from inmem.actors.dispatch.stack_room import NoRoomError
from inmem.actors.event_log import QuietLogger
from inmem.actors.messages.control import GoOn
from inmem.actors.messages.transactions import (
    Commit,
    CommitAborted,
    CommitDecided,
    CommitRefused,
    CommitRepeated,
    Committed,
    Drain,
    Drained,
    RetryDue,
)
from inmem.engine.commits.request_groups import RequestGroups
from inmem.engine.commits.transaction import RequestTransaction
from inmem.engine.errors import DatabaseClosedError, InvariantError, OverloadedError
from inmem.engine.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from inmem.actors.dispatch.mailbox import Mailbox, MailboxRef, ReplyTo
    from inmem.actors.environment import StoreClock
    from inmem.actors.published import Published
    from inmem.engine.commits.transaction import CommitRequest, Transaction
    from inmem.engine.limits import Limits
    from inmem.engine.ports import Entropy

log = QuietLogger("inmem.requests")


class PrimitiveActor(StoreActor):
    """Base class of the primitive actors; subclasses write `perform`. Also the `RequestOutbox` of its `RequestGroups`.

    Args:
        mailbox: its address.
        supervisor: told of failures.
        coordinator: takes the commits.
        published: holds the newest snapshot.
        clock: the store's time.
        entropy: for ids and jitter.
        limits: bounds on what may be written and what may wait.
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
        self._requests: RequestGroups[Owed] = RequestGroups(mailbox.name, self, entropy)
        self._draining: Owed | None = None
        self._overloaded = False
        # The actor that has taken over all that this one owed.
        self.successor: PrimitiveActor | None = None
        if predecessor is not None:
            self._take_over(predecessor)

    HANDLES: ClassVar[tuple[type[Any], ...]] = ()
    """The request classes that are routed to this actor."""

    def perform(self, txn: Transaction, message: Any) -> Any:
        """Carry out one request on `txn`; see `RequestOutbox.perform`."""
        raise NotImplementedError

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        kind = message.__class__
        if kind is CommitDecided:
            self._decided(message.group, message.outcome)
            return None
        if kind is RetryDue:
            self._requests.retry(message.group)
            return None
        if kind is GoOn:
            self._requests.go_on()
            return None
        owed = self.owe(message)
        if kind is Drain:
            self._draining = owed
            self._continue_draining()
        elif self._draining is None and not self._requests.waiting:
            self._requests.append(owed)
        else:
            # A sender that used `tell` gets no answer, and must not bring the actor down either.
            self._let_in(owed)
        return LATER

    def fail(self, message: Any, reply_to: ReplyTo | None, error: BaseException) -> None:
        """Stop handling messages. If the stack was full, the request at hand is not to blame."""
        if isinstance(error, NoRoomError):
            self._requests.absolve()
        super().fail(message, reply_to, error)

    # Called by RequestGroups.

    def begin(self) -> Transaction:
        """Begin a transaction at the newest snapshot."""
        return RequestTransaction(0, self._published.snapshot, self._clock.now_us(), self._entropy, limits=self._limits)

    def commit(self, request: CommitRequest, attempt: int, group: int) -> None:
        """Send a commit to the coordinator; its outcome comes as `CommitDecided`."""
        commit = Commit(request, attempt, (self.mailbox.name, group))
        self._coordinator.send(commit, DecisionReply(self.mailbox.ref, group))

    def pause(self, delay_s: float, group: int) -> None:
        """Set the timer for a retry."""
        self.mailbox.dispatcher.post_later(delay_s, self.mailbox, RetryDue(group))

    def rest(self) -> None:
        """Note that no request waits any more: a store that is closing may go on."""
        self._overloaded = False
        if self._draining is not None:
            self._continue_draining()

    def _let_in(self, owed: Owed) -> None:
        """Accept a request, unless the store is closing or too many wait already."""
        if self._draining is not None:
            owed.refuse(DatabaseClosedError())
            return
        ahead = len(self._requests.waiting)
        if ahead and (refusal := refusal_of(self.mailbox.name, owed.message, ahead, self._limits)) is not None:
            self._note_overload(refusal)
            owed.refuse(refusal)
            return
        self._requests.append(owed)

    def _note_overload(self, refusal: OverloadedError) -> None:
        """Log the first of a series of refusals, which ends when no request waits any more."""
        if not self._overloaded:
            self._overloaded = True
            log.warning("overloaded", actor=self.mailbox.name, waiting=len(self._requests.waiting), error=str(refusal))

    def _decided(self, group: int, outcome: Any) -> None:
        if outcome.__class__ is Committed:
            self._requests.committed(group, outcome.version)
        elif outcome.__class__ is CommitRefused:
            self._requests.lost(group)
        elif outcome.__class__ is CommitAborted:
            self._requests.aborted(group, outcome.error)
        elif outcome.__class__ is not CommitRepeated:
            raise InvariantError(f"the coordinator answered a commit with {outcome!r}")

    def _continue_draining(self) -> None:
        if self._draining is not None and self._requests.is_idle:
            self._draining.answer(Drained())

    def _take_over(self, predecessor: PrimitiveActor) -> None:
        """Go on where the failed actor stopped, with all that it owed, in the order of arrival."""
        requests: list[Owed] = []
        for owed in tuple(predecessor.owed):
            owed.move_to(self)
            if type(owed.message) is Drain:
                self._draining = owed
            else:
                requests.append(owed)
        self._requests.take_over(predecessor._requests, requests)
        # Last: if this is interrupted, another successor takes over from the same actor.
        predecessor.successor = self
