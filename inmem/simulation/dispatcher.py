"""The dispatcher of one simulated store: its actors post here, and the scheduler decides when their messages arrive.

Every question, a message with a reply address, is tracked: it must be answered exactly once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.simulation.futures import SimulatedFuture
from inmem.simulation.promises import BrokenPromise
from inmem.simulation.trace import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inmem.actors.dispatch.dispatcher import Letter
    from inmem.actors.dispatch.future import ReplyFuture
    from inmem.actors.dispatch.mailbox import Mailbox, ReplyTo
    from inmem.simulation.scheduler import Scheduler


class Question:
    """The reply address of one message. It counts the answers that pass through it."""

    __slots__ = ("_dispatcher", "_reply_to", "answers", "message", "receiver")

    def __init__(self, dispatcher: StoreDispatcher, receiver: str, message: Any, reply_to: ReplyTo) -> None:
        self._dispatcher = dispatcher
        self._reply_to: ReplyTo | None = reply_to
        self.receiver = receiver
        self.message = message
        self.answers = 0

    def set(self, value: Any = None) -> None:
        """Pass an answer on."""
        reply_to = self._count()
        self._dispatcher.note_answer(value)
        if reply_to is not None:
            reply_to.set(value)

    def set_exception(self, exc_info: Any = None) -> None:
        """Pass an error on."""
        reply_to = self._count()
        if reply_to is not None:
            reply_to.set_exception(exc_info)

    def __str__(self) -> str:
        return f"{describe(self.message)} to {self.receiver}"

    def _count(self) -> ReplyTo | None:
        """Count an answer, and return where the first one goes. Drop that address: nothing else may need it."""
        self.answers += 1
        if self.answers > 1:
            self._dispatcher.broken.append(BrokenPromise(f"{self} was answered {self.answers} times"))
        reply_to, self._reply_to = self._reply_to, None
        return reply_to


class StoreDispatcher:
    """Implements `inmem.actors.dispatch.dispatcher.Dispatcher` on a scheduler.

    Args:
        scheduler: decides when messages arrive.
        prefix: prefix of its mailboxes' names in the trace, when there are several stores.
        before_delivery: called with the receiver's name, the mailbox, the message and its reply address; returns
            whether the message arrives.

    Attributes:
        on_message: called with every message when it is sent.
        on_answer: called with every answer.
        broken: promises found broken while a handler ran. They are raised outside the handler; inside it, the store
            would treat them as a failure of the actor.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        prefix: str,
        before_delivery: Callable[[str, Mailbox, Any, ReplyTo | None], bool],
    ) -> None:
        self._scheduler = scheduler
        self._prefix = prefix
        self._before_delivery = before_delivery
        self._questions: list[Question] = []
        self.on_message: Callable[[Any], None] = _ignore
        self.on_answer: Callable[[Any], None] = _ignore
        self.broken: list[BrokenPromise] = []

    def is_of(self, scheduler: Scheduler) -> bool:
        """Return whether this dispatcher belongs to `scheduler`."""
        return self._scheduler is scheduler

    def future(self) -> SimulatedFuture:
        """Return an empty future."""
        return SimulatedFuture(self._scheduler)

    def post(self, mailbox: Mailbox, message: Any, reply_to: ReplyTo | None) -> None:
        """Put a message on its way."""
        if self._scheduler.crashed:
            return
        # First, as this may raise: nothing has been recorded yet that would have to be undone.
        self._scheduler.whose_turn()
        receiver = self._prefix + mailbox.name
        if reply_to is not None and type(reply_to) is not Question:
            question = Question(self, receiver, message, reply_to)
            self._questions.append(question)
            reply_to = question
        try:
            self.on_message(message)
        except BrokenPromise as broken:
            self.broken.append(broken)
        self._scheduler.post(receiver, self, mailbox, message, reply_to)

    def pass_on(self, mailbox: Mailbox, message: Any) -> None:
        """Put a message on its way."""
        self.post(mailbox, message, None)

    def ask(self, mailbox: Mailbox, message: Any, timeout_s: float | None) -> Any:
        """Put a message on its way, and let others run until its answer arrives."""
        future = self.future()
        self.post(mailbox, message, future)
        return future.get(timeout=timeout_s)

    def post_all(self, letters: Iterable[Letter]) -> None:
        """Put messages on their way. Only the courier of `inmem.aio` calls this, and a simulation refuses its thread.

        Raises:
            ScenarioError: as for `Scheduler.whose_turn`, even if there are no messages.
        """
        self._scheduler.whose_turn()
        for letter in letters:
            self.post(*letter)

    def post_later(self, delay_s: float, mailbox: Mailbox, message: Any, *, idle: bool = False) -> None:
        """Put a message on its way when the virtual clock has advanced by `delay_s` seconds."""
        name = self._prefix + mailbox.name
        self._scheduler.call_later(delay_s, name, lambda: self.post(mailbox, message, None), idle=idle)

    def deliver(self, target: Any, message: Any, reply_to: ReplyTo | None) -> None:
        """Deliver a message now. Called by the scheduler."""
        if self._before_delivery(self._scheduler.handling, target, message, reply_to):
            target.deliver(message, reply_to)
        if self.broken:
            raise self.broken[0]

    def note_answer(self, value: Any) -> None:
        """Report an answer to `on_answer`."""
        if self._scheduler.crashed:
            return
        try:
            self.on_answer(value)
        except BrokenPromise as broken:
            self.broken.append(broken)

    def wait(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Let others run until the reply arrives or the timeout passes in virtual time."""
        self._scheduler.wait(future, timeout_s)

    def idle(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Let others run until the reply arrives or the timeout passes in virtual time."""
        self._scheduler.idle(future, timeout_s)

    def sleep(self, delay_s: float) -> None:
        """Let virtual time pass."""
        self._scheduler.sleep(delay_s)

    def depth(self, mailbox: Mailbox) -> int:
        """Count the messages on their way to a mailbox, or kept there until it has an actor."""
        return self._scheduler.depth(self._prefix + mailbox.name) + len(mailbox.stash)

    def backlog(self, mailbox: Mailbox) -> int:
        """Count the messages on their way to a mailbox."""
        return self.depth(mailbox)

    def close(self, mailbox: Mailbox) -> None:
        """Do nothing: there is nothing to release."""

    def shut_down(self) -> None:
        """Do nothing: there is nothing to stop."""

    def check_answers(self) -> None:
        """Check, at rest, that every question was answered exactly once.

        Raises:
            BrokenPromise: a question was not.
        """
        if self.broken:
            raise self.broken[0]
        for question in self._questions:
            if not question.answers:
                raise BrokenPromise(f"everything has come to rest, and {question} has no answer")
        self._questions.clear()


def _ignore(_: Any) -> None:
    """Do nothing."""
