"""What every actor of the store has in common: how it handles a message, and what happens when a handler fails.

Under `ask`, pykka passes an exception to the caller and leaves the actor alive, perhaps half-changed. Here:

- an `InmemError` raised by a handler is an answer: the caller gets it, the actor goes on;
- any other exception ends the actor. The supervisor is told, takes over all that the actor owed to others, and puts
  another actor behind the same address. The callers get their answers from what the log proves.

An actor never waits for another. A handler that cannot answer yet returns `LATER` and keeps the `Owed` that `owe`
returned.
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
"""Returned by a handler that answers later, through the `Owed` it has kept."""

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
    """An answer that a sender waits for. Only the first answer counts: answering again is a no-op."""

    _actor: StoreActor
    message: Any
    reply_to: ReplyTo | None
    transaction_id: int = 0
    """The transaction whose commit decides the answer, once it is known."""

    @property
    def mailbox(self) -> Mailbox:
        """The address that received the request."""
        return self._actor.mailbox

    def answer(self, value: Any) -> None:
        """Answer with a value."""
        owed = self._actor.owed
        if self in owed:
            if self.reply_to is not None:
                # The debt is removed only afterwards: if this is interrupted, it is still listed, and answered again.
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
        """Answer that no other answer will come, because the store ends."""
        self.refuse(self._actor.why_abandoned(self))

    def move_to(self, actor: StoreActor) -> None:
        """Make another actor owe this answer. The previous one keeps it in its list, but can no longer answer it."""
        self._actor = actor
        actor.owed[self] = None


def answer_all(waiting: list[Owed], error: BaseException | None) -> None:
    """Answer all that have waited for one thing, with None or an error. If interrupted, it leaves the rest waiting."""
    while waiting:
        if error is None:
            waiting[0].answer(None)
        else:
            waiting[0].refuse(error)
        del waiting[0]


class StoreActor(pykka.Actor):
    """Base class of the store's actors. Subclasses implement `on_receive`, as one `match`.

    Args:
        mailbox: the address of the actor.
        supervisor: told when a handler fails; None for the supervisor itself.
        core: number of the actor's core; messages of other cores are dropped.
    """

    def __init__(self, mailbox: Mailbox, supervisor: MailboxRef | None, core: int = 0) -> None:
        self.mailbox = mailbox
        self.supervisor = supervisor
        self.core = core
        self.owed: dict[Owed, None] = {}
        self._reply_to: ReplyTo | None = None
        self._has_failed = False
        # Whether it has been put behind its address, which happens only once.
        self.has_begun = False
        # Actors of a core send to each other with `pass_on`: like `tell`, but a retired receiver is no error. To and
        # from an actor with a thread of its own, which `pass_on` does not serve, messages go through its address. Never
        # keep the bound method: a forked child replaces it, so that its copies of the actors reach nobody.
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
        """Note that the message being handled will be answered later; the handler then returns `LATER`."""
        owed = Owed(self, message, self._reply_to)
        self.owed[owed] = None
        return owed

    def handle(self, message: Any, reply_to: ReplyTo | None) -> None:
        """Handle one message, whatever happens. Called by the mailbox, or directly by a dispatcher."""
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
            self._reply_to = None
            if reply_to is None or isinstance(error, InvariantError):
                self.fail(message, reply_to, error)
            else:
                reply_to.set_exception((type(error), error, error.__traceback__))
        except RecursionError:
            # The thread has no stack left, not even for `fail`. The code that runs this thread has `fail` called where
            # there is room.
            self._reply_to = None
            raise
        except BaseException as error:  # noqa: BLE001  (whatever it is, callers must not be left waiting)
            self._reply_to = None
            self.fail(message, reply_to, error)
        else:
            if reply_to is not None:
                # Kept, it would keep the answer and the asker's frames alive until this actor's next message.
                self._reply_to = None
                if result is not LATER:
                    reply_to.set(result)

    def on_pykka_message(self, message: Any) -> Any:
        """Handle the messages of pykka's refs and proxies. Only the supervisor can be stopped from outside."""
        if type(message) is STOP:
            raise InvariantError(f"the {self.mailbox.name} actor was stopped from outside")
        return self._handle_receive(message)

    def fail(self, message: Any, reply_to: ReplyTo | None, error: BaseException) -> None:
        """Stop handling messages, and hand everything over to the supervisor.

        If this call is interrupted, it can be repeated.
        """
        is_its_own = not interrupts.keep_back(error)
        if message.__class__ is Retire:
            # An actor whose store has ended gets no successor.
            StoreActor.retire(self)
            return
        if reply_to is not None and not self._owes(reply_to):
            self.tell_failed(reply_to, error)
        if self.supervisor is None:
            raise error
        if not self._has_failed:
            failed = ActorFailed(self.mailbox.name, self.core, error, self, message, is_its_own)
            self.supervisor.send(failed, None)
            self._has_failed = True
        self.mailbox.suspend()

    def tell_failed(self, reply_to: ReplyTo, error: BaseException) -> None:
        """Answer a request on which this actor has failed, unless it has been answered."""
        refusal = TransactionAbortedError(f"the {self.mailbox.name} actor failed: {shown_failure(error)}")
        # It may have been answered just before the handler failed, or by a call of `fail` that was interrupted.
        with contextlib.suppress(queue.Full):
            reply_to.set_exception((TransactionAbortedError, refusal, error.__traceback__))

    def why_abandoned(self, owed: Owed) -> InmemError:  # noqa: ARG002  (whatever was asked)
        """Return the answer to a request that this actor still owes when the store ends."""
        return DatabaseClosedError()

    def abandon(self) -> None:
        """Tell everybody who waits for an answer from this actor that the store ends."""
        for owed in tuple(self.owed):
            owed.abandon()

    def retire(self) -> None:
        """Stop for good, and answer all waiting requests."""
        self.abandon()
        self.mailbox.retire()
        self.mailbox.dispatcher.close(self.mailbox)

    def _owes(self, reply_to: ReplyTo | None) -> bool:
        """Whether this actor owes an answer to the message that came with `reply_to`. O(all that it owes)."""
        return any(owed.reply_to is reply_to for owed in self.owed)

    def _obey(self, message: Any) -> Any:
        """Handle a control message. If an actor cannot halt, it has failed, which ends it as well."""
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
        # Tell first: once nobody is behind the address, an interrupted Halt would wait there for the next actor.
        if self.supervisor is not None:
            self.supervisor.send(Halted(self.mailbox.name, message.core, self), None)
        self.mailbox.suspend()

    def _create_actor_inbox(self) -> Any:  # type: ignore[override]
        return self.mailbox

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return ReplyFuture()

    def _start_actor_loop(self) -> None:
        """Do nothing: dispatchers empty the mailboxes."""
