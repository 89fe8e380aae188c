"""A mailbox is an address that outlives the actor behind it.

Refs and proxies point at mailboxes. When an actor has failed, its mailbox keeps the messages that arrive until the
supervisor has put another actor behind it; holders of the ref notice only a pause.
"""

from __future__ import annotations

import threading
import uuid
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, overload

import pykka
from msgspec import Struct

from inmem.actors.dispatch.intake import refusal_of, require_message
from inmem.actors.messages.control import Resume, Retire
from inmem.actors.messages.request import Request
from inmem.engine.errors import DatabaseClosedError, InvariantError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inmem.actors.dispatch.actor import StoreActor
    from inmem.actors.dispatch.dispatcher import Dispatcher
    from inmem.actors.dispatch.future import ReplyFuture
    from inmem.actors.dispatch.mailbox_lane import Delivery
    from inmem.engine.errors import OverloadedError
    from inmem.engine.limits import Limits


class StoppedError(DatabaseClosedError, pykka.ActorDeadError):
    """The store behind this address is closed. Also a pykka.ActorDeadError, for callers that expect that."""


class ReplyTo(Protocol):
    """Where an answer goes: a future that a thread waits for, or an actor's own mailbox."""

    def set(self, value: Any = None) -> None:
        """Answer with a value."""
        ...

    def set_exception(self, exc_info: Any = None) -> None:
        """Answer with an exception."""
        ...


class Mailbox:
    """The address of one actor, the queue of its messages while no actor is behind it, and the ref to hand out.

    Args:
        name: unique in its actor system, for messages and traces.
        dispatcher: delivers the messages posted here.
        own_thread: whether the actor may block, on a disk for example, and so needs a thread of its own.
        lends_itself: whether the actor blocks so briefly that a thread that waits for its work may do that work itself
            if no other thread waits.
        limits: on the messages that outsiders may leave waiting here; None where outsiders have no access.
    """

    __slots__ = (
        "actor",
        "at_hand",
        "dispatcher",
        "failed_over",
        "lends_itself",
        "limits",
        "name",
        "own_thread",
        "ref",
        "routes",
        "stash",
        "stopped",
    )

    def __init__(
        self,
        name: str,
        dispatcher: Dispatcher,
        *,
        own_thread: bool = False,
        lends_itself: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.name = name
        self.dispatcher = dispatcher
        self.own_thread = own_thread
        self.lends_itself = lends_itself
        self.limits = limits
        # Where the actor forwards messages, by class. Messages of such a class must pass the limits there, too.
        self.routes: Mapping[type, MailboxRef] = {}
        self.actor: StoreActor | None = None
        self.stash: deque[Delivery] = deque()
        # The stashed message being handled. If that is interrupted, it has failed, not the `Resume` that delivers it.
        self.at_hand: Delivery | None = None
        # The message on which the previous actor failed, until there is a successor: it is not delivered again.
        self.failed_over: Delivery | None = None
        self.stopped = False
        self.ref = MailboxRef(self)

    def refusal_at_door(self, message: Any) -> OverloadedError | None:
        """Return why an outsider's message is refused; None if it may wait here, or if there are no limits.

        Raises:
            UsageError: it is not a message that a store accepts.
        """
        limits = self.limits
        if limits is None:
            return None
        if not isinstance(message, Request):
            require_message(message)
            return None
        route = self.routes.get(message.__class__)
        if route is not None and (refusal := route.mailbox.refusal_at_door(message)) is not None:
            return refusal
        return refusal_of(self.name, message, self.dispatcher.backlog(self), limits)

    def attach(self, actor: StoreActor) -> None:
        """Put an actor behind the address."""
        self.failed_over = None
        self.actor = actor
        actor.has_begun = True
        self.ref.follow(actor)

    def fail(self, message: Any, reply_to: ReplyTo | None, error: BaseException) -> None:
        """Have the actor, if there is one, fail on the message whose delivery was interrupted.

        If this call is interrupted itself, it can be repeated.
        """
        if self.at_hand is not None:
            if self.stash and self.stash[0] is self.at_hand:
                self.stash.popleft()
            message, reply_to = self.at_hand
        if self.actor is not None:
            self.failed_over = message, reply_to
            self.actor.fail(message, reply_to, error)
        self.at_hand = None

    def make_up(self, message: Any, reply_to: ReplyTo | None, error: BaseException) -> None:
        """Have the actor fail on a message whose delivery was interrupted; without an actor, keep it for the next one.

        If this call is interrupted itself, it can be repeated: a message that an actor has failed on is not kept.
        """
        if self.actor is not None:
            self.fail(message, reply_to, error)
            return
        dealt_with = [*self.stash] if self.failed_over is None else [self.failed_over, *self.stash]
        if not any(each is message and its_reply_to is reply_to for each, its_reply_to in dealt_with):
            self.deliver(message, reply_to)

    def suspend(self) -> None:
        """Detach the actor; messages wait from now on."""
        self.actor = None

    def deliver(self, message: Any, reply_to: ReplyTo | None) -> None:
        """Give one message to the actor. Only the dispatcher calls this, with one message at a time."""
        actor = self.actor
        if actor is not None and message.__class__ is not Resume:
            actor.handle(message, reply_to)
        elif message.__class__ is Resume:
            self._resume(message.actor)
        elif message.__class__ is Retire:
            # The failed actor has no successor and will get none.
            self.retire()
            self.dispatcher.close(self)
        elif self.stopped:
            refuse_dead(self, reply_to)
        else:
            self.stash.append((message, reply_to))

    def _resume(self, successor: StoreActor) -> None:
        """Put an actor behind the address and give it the waiting messages; those it does not reach go on waiting."""
        # If handling the message at hand was interrupted, the actor has failed on it by now.
        self.at_hand = None
        if self.actor is not successor:
            if successor.has_begun:
                # This is a repeated `Resume`, because the first was interrupted. The actor has failed since.
                return
            if self.actor is not None and self.actor.owed:
                raise InvariantError(f"another actor is put behind {self.name} before this one's debts were taken over")
            self.attach(successor)
        stash = self.stash
        while stash and self.actor is not None:
            at_hand = self.at_hand = stash[0]
            stash.popleft()
            self.actor.handle(*at_hand)
            self.at_hand = None

    def retire(self) -> None:
        """Refuse all messages from now on, and answer the waiting ones."""
        self.stopped = True
        self.actor = None
        self.ref.actor_stopped.set()
        waiting, self.stash = self.stash, deque()
        for _, reply_to in waiting:
            refuse_dead(self, reply_to)

    # pykka's inbox protocol, for code that reaches for `ref.actor_inbox`.

    def put(self, envelope: Any, /) -> None:
        """Post a pykka envelope."""
        self.dispatcher.post(self, envelope.message, envelope.reply_to)

    def get(self) -> Any:
        """Not supported: the dispatcher delivers the messages."""
        raise TypeError("a mailbox is emptied by its dispatcher")

    def empty(self) -> bool:
        """Whether no message waits here for an actor."""
        return not self.stash


def refuse_dead(mailbox: Mailbox, reply_to: ReplyTo | None) -> None:
    """Answer as pykka does for a stopped actor."""
    if reply_to is not None:
        error = StoppedError(f"the database is closed: {mailbox.name} stopped before handling the message")
        reply_to.set_exception((StoppedError, error, None))


class MailboxRef(pykka.ActorRef["StoreActor"]):
    """A pykka ref: `ask`, `tell`, `stop`, `proxy`. It stays valid when the actor behind it is replaced."""

    def __init__(self, mailbox: Mailbox) -> None:
        # All the fields of pykka.ActorRef. Its own __init__ needs an actor, but here the address comes first.
        self._actor_weakref = lambda: None  # type: ignore[assignment]
        self.actor_class = pykka.Actor  # type: ignore[assignment]
        self.actor_urn = uuid.uuid4().urn
        self.actor_inbox = mailbox
        self.actor_stopped = threading.Event()
        self.mailbox: Final = mailbox
        """The address this ref points at."""
        self.database: str | None = None
        """For the ref of a supervisor, the path of its database, for display."""
        self._dispatcher = mailbox.dispatcher

    def follow(self, actor: StoreActor) -> None:
        """Point at the actor that is now behind the address."""
        self._actor_weakref = weakref.ref(actor)
        self.actor_class = type(actor)

    def __str__(self) -> str:
        of = "" if self.database is None else f" of {self.database!r}"
        return f"{self.mailbox.name}{of} ({self.actor_urn})"

    def tell(self, message: Any) -> None:
        """Send a message and do not wait.

        Raises:
            pykka.ActorDeadError: the actor has been stopped for good.
            OverloadedError: too many requests wait for the actor.
            UsageError: the message is neither one of `inmem.messages` nor one of pykka's.
        """
        mailbox = self.mailbox
        if mailbox.stopped:
            raise self._stopped()
        # Most messages are from the store's own actors, to mailboxes without limits.
        if mailbox.limits is not None and (refusal := mailbox.refusal_at_door(message)) is not None:
            raise refusal
        self._dispatcher.post(mailbox, message, None)

    def send(self, message: Any, reply_to: ReplyTo | None) -> None:
        """Send a message whose answer goes to `reply_to`."""
        if self.mailbox.stopped:
            refuse_dead(self.mailbox, reply_to)
        else:
            self._dispatcher.post(self.mailbox, message, reply_to)

    @overload
    def ask(self, message: Any, *, block: Literal[False], timeout: float | None = None) -> ReplyFuture[Any]: ...

    @overload
    def ask(self, message: Any, *, block: Literal[True] = True, timeout: float | None = None) -> Any: ...

    @overload
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any: ...

    def ask(  # pyright: ignore[reportIncompatibleMethodOverride]  (block is True unless said otherwise, as in pykka)
        self, message: Any, *, block: bool = True, timeout: float | None = None
    ) -> Any:
        """Send a message and return the reply, or with ``block=False`` a future for it.

        Raises:
            pykka.Timeout: no reply within `timeout` seconds; the request is still being handled.
            pykka.ActorDeadError: the actor has been stopped for good.
            UsageError: the message is neither one of `inmem.messages` nor one of pykka's.
        """
        if block and not self.mailbox.stopped:
            if self.mailbox.limits is not None:
                require_message(message)
            return self._dispatcher.ask(self.mailbox, message, timeout)
        future: ReplyFuture[Any] = self._dispatcher.future()
        if self.mailbox.stopped:
            future.set_exception((StoppedError, self._stopped(), None))
        elif (refusal := self.mailbox.refusal_at_door(message)) is not None:
            future.set_exception((type(refusal), refusal, None))
        else:
            self._dispatcher.post(self.mailbox, message, future)
        return future.get(timeout=timeout) if block else future

    def _stopped(self) -> StoppedError:
        return StoppedError(f"the database is closed: {self} not found")


class AsMessage(Struct, eq=False):
    """A reply address that turns the answer into a message: an actor gets an answer without waiting for it."""

    _ref: MailboxRef
    """The actor that asked."""
    _message: Callable[[Any, BaseException | None], Any]
    """Makes the message from the answer, or from the exception given as the answer."""

    def set(self, value: Any = None) -> None:
        """Pass an answer on."""
        self._ref.send(self._message(value, None), None)

    def set_exception(self, exc_info: Any = None) -> None:
        """Pass an error on."""
        self._ref.send(self._message(None, exc_info[1]), None)
