"""A thread that sends messages for threads that must not wait: the threads of event loops.

Sending a message may mean to run actors for a while, and to wait for a turn (caller_dispatcher.py). An event loop has
no time for either, so it leaves its messages here, which takes no longer than putting them into a queue.
"""

from __future__ import annotations

import threading
import weakref
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import pykka

from inmem.actors.mailbox import refuse_dead
from inmem.engine.errors import DatabaseClosedError

if TYPE_CHECKING:
    from inmem.actors.dispatcher import Dispatcher, Letter
    from inmem.actors.mailbox import MailboxRef, ReplyTo

LETTERS_PER_ROUND_MAX = 256
"""What has come meanwhile goes out together, so that it can be carried out together: as much as one commit takes."""


class Sender(Protocol):
    """Whatever messages to one actor can be given to."""

    def send(self, message: Any, reply_to: ReplyTo | None) -> None:
        """Send a message whose answer goes to `reply_to`."""
        ...


class Courier:
    """Sends messages, from a daemon thread of its own, in the order in which it was given them.

    The thread starts with the first message and ends with `close`, or when nobody has the courier any more.

    Args:
        dispatcher: of all receivers.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._letters: SimpleQueue[Letter | None] = SimpleQueue()
        # A finalizer may run in the thread that holds it, and send something.
        self._starting = threading.RLock()
        self._runs = False
        weakref.finalize(self, self._letters.put, None).atexit = False

    def start(self) -> None:
        """Start the thread now, so that no message has to wait for that."""
        # Nothing to send as yet. A dispatcher that takes no messages from threads, as that of a simulation, says so
        # now; later nobody who waits in a loop would hear of it.
        self._dispatcher.post_all(())
        with self._starting:
            if not self._runs:
                self._runs = True
                # Not a bound method: the thread must not be what keeps the courier alive.
                work = (self._letters, self._dispatcher)
                try:
                    threading.Thread(target=_carry, args=work, name="inmem-courier", daemon=True).start()
                except RuntimeError:
                    # The system has no thread left. It may have one for the next message.
                    self._runs = False
                    raise

    def send(self, ref: MailboxRef, message: Any, reply_to: ReplyTo | None) -> None:
        """Have a message sent whose answer goes to `reply_to`. Never waits, but to start the thread.

        Raises:
            RuntimeError: the system has no thread left; nothing was sent.
        """
        if not self._runs:
            self.start()
        self._letters.put((ref.mailbox, message, reply_to))
        if not self._runs:
            # Closed meanwhile.
            self.start()

    def to(self, ref: MailboxRef) -> Sender:
        """Return what sends to one actor through this courier."""
        return _Addressed(self, ref)

    def close(self) -> None:
        """End the thread once it has sent what it was given. A later message starts another one."""
        with self._starting:
            if self._runs:
                self._runs = False
                self._letters.put(None)


class _Addressed:
    __slots__ = ("_courier", "_ref")

    def __init__(self, courier: Courier, ref: MailboxRef) -> None:
        self._courier = courier
        self._ref = ref

    def send(self, message: Any, reply_to: ReplyTo | None) -> None:
        self._courier.send(self._ref, message, reply_to)


def _carry(inbox: SimpleQueue[Letter | None], dispatcher: Dispatcher) -> None:
    is_open = True
    while is_open:
        letters: list[Letter] = []
        is_open = _collect(inbox, letters)
        if letters:
            dispatcher.post_all(letters)


def _collect(inbox: SimpleQueue[Letter | None], letters: list[Letter]) -> bool:
    """Wait for a letter and take with it what has come meanwhile; return False if there will be no more.

    A function of its own, so that nothing holds a letter that has been sent while the next one is waited for.
    """
    letter = inbox.get()
    while letter is not None:
        mailbox, _, reply_to = letter
        if mailbox.stopped:
            refuse_dead(mailbox, reply_to)
        else:
            letters.append(letter)
        if len(letters) >= LETTERS_PER_ROUND_MAX:
            return True
        try:
            letter = inbox.get_nowait()
        except Empty:
            return True
    return False


def as_answer(error: BaseException) -> BaseException:
    """Return what a client is told when the answer to a request is `error`."""
    return DatabaseClosedError() if isinstance(error, pykka.ActorDeadError) else error
