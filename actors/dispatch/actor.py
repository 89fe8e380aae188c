"""What every actor of the store has in common: how a message is handled, and what happens when that fails.

pykka gives an exception raised under `ask` to the caller and leaves the actor alive, perhaps half-changed. Here:

- an `InmemError` raised by a handler is an answer: the caller gets it, the actor goes on;
- anything else is this actor's end. The supervisor is told, with all that the actor owed to others, and puts another
  actor behind the same address. The callers get their answers from what the log proves.

An actor never waits for another. A handler that cannot answer yet returns `LATER` and keeps the `Owed` that `owe`
gave it.
"""

from __future__ import annotations

import contextlib
import queue
from typing import TYPE_CHECKING, Any, Final

import pykka
from msgspec import Struct
from pykka import messages as pykka_messages

from inmem.actors.dispatch import interrupts
from inmem.actors.dispatch.future import ReplyFuture
from inmem.actors.messages import core
from inmem.actors.messages.control import ActorFailed, Halt, Halted, Resume, Retire
from inmem.engine.errors import DatabaseClosedError, InmemError, InvariantError, TransactionAbortedError
from inmem.engine.shown import shown_failure

if TYPE_CHECKING:
    from inmem.actors.dispatch.mailbox import Mailbox, MailboxRef, ReplyTo

LATER: Final = object()
"""Returned by a handler whose answer comes later, through the `Owed` it has kept."""

STOP = pykka_messages._ActorStop  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  (it has no public name)
_PYKKA_MESSAGES = frozenset({
    STOP,
    pykka_messages.ProxyCall,
    pykka_messages.ProxyGetAttr,
    pykka_messages.ProxySetAttr,
})  # fmt: skip
_CONTROL_MESSAGES = _PYKKA_MESSAGES | {Halt, Retire, Resume}
_CORE_MESSAGES = core.MESSAGES


class Owed(Struct, eq=False):
    """An answer that somebody waits for. Answering twice is a no-op after the first time."""

    _actor: StoreActor
    message: Any
    reply_to: ReplyTo | None
    transaction_id: int = 0
    """Of the commit that decides the answer, once it is known."""

    @property
    def mailbox(self) -> Mailbox:
        """The address that was asked."""
        return self._actor.mailbox

    def answer(self, value: Any) -> None:
        """Answer with a value."""
        owed = self._actor.owed
        if self in owed:
            if self.reply_to is not None:
                # The debt is struck out afterwards: should this be cut short, somebody knows of it and answers again.
                try:  # noqa: SIM105  (part of every commit)
                    self.reply_to.set(value)
                except queue.Full:
                    pass
            owed.pop(self, None)

    def refuse(self, error: BaseException) -> None:
        """Answer with an error."""
        owed = self._actor.owed
        if self in owed:
            if self.reply_to is not None:
                own = error.anew() if isinstance(error, InmemError) else error
                with contextlib.suppress(queue.Full):
                    self.reply_to.set_exception((type(own), own, error.__traceback__))
            owed.pop(self, None)

    def abandon(self) -> None:
        """Answer that there will be no other answer: the store ends."""
        self.refuse(self._actor.why_abandoned(self))

    def move_to(self, actor: StoreActor) -> None:
        """Make another actor the one that owes this. The previous one keeps its list, and has no say any more."""
        self._actor = actor
        actor.owed[self] = None


def answer_all(waiting: list[Owed], error: BaseException | None) -> None:
    """Answer those who have waited for one thing, with nothing or an error. Cut short, it leaves the others waiting."""
    while waiting:
        if error is None:
            waiting[0].answer(None)
        else:
            waiting[0].refuse(error)
        del waiting[0]


class StoreActor(pykka.Actor):
    """Base of the store's actors. Subclasses write `on_receive`, one `match`.

    Args:
        mailbox: the address it will be behind.
        supervisor: is told when a handler fails; None for the supervisor itself.
        core: number of the core it belongs to; messages of other cores are dropped.
    """

    def __init__(self, mailbox: Mailbox, supervisor: MailboxRef | None, core: int = 0) -> None:
        self.mailbox = mailbox
        self.supervisor = supervisor
        self.core = core
        self.owed: dict[Owed, None] = {}
        self._reply_to: ReplyTo | None = None
        self._has_failed = False
        # Whether it has been put behind its address, which happens once.
        self.has_begun = False
        # The actors of a core pass on to each other: like `tell`, except that a retired one is not an error. The method
        # is never kept: in a forked child it is replaced, so that the child's copy of the actors reaches nobody.
        self._dispatcher = mailbox.dispatcher
        super().__init__()
        self._actor_ref = mailbox.ref
        self.actor_urn = mailbox.ref.actor_urn
        self.actor_stopped = mailbox.ref.actor_stopped

    @property
    def ref(self) -> MailboxRef:
        """The actor's own address."""
        return self.mailbox.ref

    def owe(self, message: Any) -> Owed:
        """Keep the answer to the message being handled for later; the handler then returns `LATER`."""
        owed = Owed(self, message, self._reply_to)
        self.owed[owed] = None
        return owed

    def handle(self, message: Any, reply_to: ReplyTo | None) -> None:
        """Handle one message, whatever happens. Called by the mailbox, or by a dispatcher that sees who is there."""
        kind = message.__class__
        is_control = False
        if kind in _CORE_MESSAGES:
            if message.core != self.core:
                return
        elif kind in _CONTROL_MESSAGES:
            if kind is Resume:
                self.mailbox.deliver(message, reply_to)
                return
            is_control = True
        self._reply_to = reply_to
        try:
            result = self._obey(message) if is_control else self.on_receive(message)
        except InmemError as error:
            if reply_to is None or isinstance(error, InvariantError):
                self.fail(message, reply_to, error)
            else:
                self._reply_to = None
                reply_to.set_exception((type(error), error, error.__traceback__))
        except RecursionError:
            # The thread has no room left on its stack, not even for what follows from that. Whoever runs this sees to
            # it that `fail` is called where there is.
            raise
        except BaseException as error:  # noqa: BLE001  (whatever it is, callers must not be left waiting)
            self.fail(message, reply_to, error)
        else:
            # Kept, it would keep the answer and the asker's frames alive until this actor's next message.
            self._reply_to = None
            if reply_to is not None and result is not LATER:
                reply_to.set(result)

    def on_pykka_message(self, message: Any) -> Any:
        """Handle what pykka's own refs and proxies send. Only the supervisor can be stopped from outside."""
        if type(message) is STOP:
            raise InvariantError(f"the {self.mailbox.name} actor was stopped from outside")
        return self._handle_receive(message)

    def fail(self, message: Any, reply_to: ReplyTo | None, error: BaseException) -> None:
        """Stop handling messages and hand everything over to the supervisor.

        Should this be cut short, it can be called again.
        """
        is_its_own = not interrupts.keep_back(error)
        self._reply_to = None
        if message.__class__ is Retire:
            # Nobody takes the place of an actor whose store has ended.
            StoreActor.retire(self)
            return
        if reply_to is not None and not any(owed.reply_to is reply_to for owed in self.owed):
            self.tell_failed(reply_to, error)
        if self.supervisor is None:
            raise error
        if not self._has_failed:
            failed = ActorFailed(self.mailbox.name, self.core, error, self, message, is_its_own)
            self.supervisor.send(failed, None)
            self._has_failed = True
        self.mailbox.suspend()

    def tell_failed(self, reply_to: ReplyTo, error: BaseException) -> None:
        """Answer a request over which this actor has failed, unless it has an answer."""
        refusal = TransactionAbortedError(f"the {self.mailbox.name} actor failed: {shown_failure(error)}")
        # It may have been answered just before the handler failed, or just before `fail` was cut short.
        with contextlib.suppress(queue.Full):
            reply_to.set_exception((TransactionAbortedError, refusal, error.__traceback__))

    def why_abandoned(self, owed: Owed) -> InmemError:  # noqa: ARG002  (whatever was asked)
        """Return what to tell somebody whose answer this actor still owes when the store ends."""
        return DatabaseClosedError()

    def abandon(self) -> None:
        """Tell everybody who waits for an answer of this actor that the store ends."""
        for owed in tuple(self.owed):
            owed.abandon()

    def retire(self) -> None:
        """Stop for good, and tell those who still wait."""
        self.abandon()
        self.mailbox.retire()
        self.mailbox.dispatcher.close(self.mailbox)

    def _obey(self, message: Any) -> Any:
        """Handle what is no request; that the actor cannot halt is its failure, and ends it as well."""
        kind = message.__class__
        if kind is Halt:
            if message.core == self.core:
                self._halt(message)
            return None
        if kind is Retire:
            self.retire()
            return None
        return self.on_pykka_message(message)

    def _halt(self, message: Halt) -> None:
        # Told first: with nobody behind the address, a Halt that is cut short would wait there for the next actor.
        if self.supervisor is not None:
            self.supervisor.send(Halted(self.mailbox.name, message.core, self), None)
        self.mailbox.suspend()

    def _create_actor_inbox(self) -> Any:  # type: ignore[override]
        return self.mailbox

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return ReplyFuture()

    def _start_actor_loop(self) -> None:
        """Do nothing: mailboxes are emptied by dispatchers."""
