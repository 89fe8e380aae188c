"""A thread that sends messages on behalf of event loops, whose threads must not wait.

Sending a message may mean running actors for a while, or waiting for a turn (caller_dispatcher.py). An event loop has
no time for either, so it leaves its messages here, which takes no longer than putting them into a queue.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from operator import length_hint
from queue import Full
from typing import TYPE_CHECKING, Any

import pykka

from inmem.actors.dispatch.mailbox import refuse_dead
from inmem.actors.dispatch.worker import Worker
from inmem.actors.event_log import QuietLogger
from inmem.engine.errors import CommitOutcomeUnknownError, DatabaseClosedError
from inmem.engine.shown import shown_failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.actors.dispatch.dispatcher import Dispatcher, Letter
    from inmem.actors.dispatch.mailbox import MailboxRef, ReplyTo

LETTERS_PER_ROUND_MAX = 256
"""Letters sent together, so that the actors can handle them together: as many as one commit takes."""

log = QuietLogger("inmem.courier")


class Courier:
    """Sends messages from its own daemon thread, in the order in which it receives them.

    The thread starts with the first message and ends with `close`, or when the courier is garbage-collected. A later
    message, such as the withdrawal of a commit, gets a thread of its own, unless its receiver has stopped. As with an
    actor's thread (worker.py), an exception that other code raises in the thread does not end it. Requests that were
    being sent at that moment are not sent again, because they may have arrived: they are answered with
    `CommitOutcomeUnknownError`, and perhaps once more when the store has handled them. The first answer counts.

    Args:
        dispatcher: the dispatcher of all receivers.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        bag = self._bag = _Bag(dispatcher)
        self._end = weakref.finalize(self, bag.close)
        self._end.atexit = False

    def start(self) -> None:
        """Start the thread now, so that no message has to wait for it to start.

        Raises:
            RuntimeError: the system has no thread left, or the program is at its end.
        """
        self._start(self._bag)

    def send(self, ref: MailboxRef, message: Any, reply_to: ReplyTo | None) -> None:
        """Queue a message whose answer goes to `reply_to`. Waits for nothing except the start of the thread.

        Raises:
            RuntimeError: the thread could not be started; nothing was sent.
        """
        bag = self._bag
        if bag.is_closed or bag.worker.thread is None:
            if ref.mailbox.stopped:
                with contextlib.suppress(Full):
                    refuse_dead(ref.mailbox, reply_to)
                return
            if bag.is_closed:
                self._send_late((ref.mailbox, message, reply_to))
                return
            self.start()
        bag.put((ref.mailbox, message, reply_to))

    def close(self) -> None:
        """End the thread once it has sent all its letters."""
        self._end()

    def _send_late(self, letter: Letter) -> None:
        bag = _Bag(self._dispatcher)
        bag.put(letter)
        # Closed before the start, so the thread ends as soon as it has sent this letter.
        bag.close()
        self._start(bag)

    def _start(self, bag: _Bag) -> None:
        # Send nothing, so that a dispatcher that takes no messages raises now: a simulation's from a thread, the
        # parent's in a forked child from anywhere. A later error would reach nobody who waits in an event loop.
        self._dispatcher.post_all(())
        if not bag.worker.start():
            raise RuntimeError("the program is at its end: no thread can be started any more")


class _Bag:
    """The letters of one thread. Separate from the courier, so that the thread does not keep the courier alive."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._letters: deque[Letter] = deque()
        # The letters that go out together next, and, while they do, how far the dispatcher has got.
        self._round: list[Letter] = []
        self._going: Iterator[Letter] | None = None
        self._sent_again: list[Letter] = []
        self.is_closed = False
        self._is_over = False
        self.worker = Worker("inmem-courier", self._carry, self._cut_short)

    def put(self, letter: Letter) -> None:
        """Queue a letter for the thread to send."""
        self._letters.append(letter)
        self.worker.wake()
        if self._is_over:
            self._drain()

    def close(self) -> None:
        """End the thread once it has nothing more to send."""
        self.is_closed = True
        self.worker.wake()

    def _carry(self) -> None:
        while not self._is_over:
            self._collect()
            if self._round:
                self._going = iter(self._round)
                self._dispatcher.post_all(self._going)
                self._round.clear()
                self._going = None
            elif self.is_closed:
                self._is_over = True
            else:
                self.worker.wait()
        # A thread that found this bag before it was closed may put a letter now. It looks at the flag after that, so
        # either it or this thread drains the letter.
        self._drain()

    def _collect(self) -> None:
        """Move the queued letters to the next round.

        A separate function, so that no local variable holds a sent letter while the thread waits for the next one.
        """
        letters = self._letters
        next_round = self._round
        # A letter joins the round before it leaves the queue. An exception in between left it in both.
        if next_round and letters and letters[0] is next_round[-1]:
            letters.popleft()
        while letters and len(next_round) < LETTERS_PER_ROUND_MAX:
            mailbox, _, reply_to = letter = letters[0]
            if mailbox.stopped:
                with contextlib.suppress(Full):
                    refuse_dead(mailbox, reply_to)
            else:
                next_round.append(letter)
            letters.popleft()

    def _cut_short(self, error: BaseException) -> None:
        going = self._going
        if going is not None:
            come_to = len(self._round) - length_hint(going)
            keep = self._round[come_to:]
            again: list[Letter] = []
            # Earlier letters are sent: a dispatcher holds back at most one letter while it takes the next.
            for letter in reversed(self._round[max(0, come_to - 2) : come_to]):
                reply_to = letter[2]
                if reply_to is not None:
                    reason = f"{shown_failure(error)} was raised from outside in the thread that was sending it"
                    unknown = CommitOutcomeUnknownError("", reason)
                    with contextlib.suppress(Full):
                        reply_to.set_exception((CommitOutcomeUnknownError, unknown, None))
                elif not any(letter is sent_again for sent_again in self._sent_again):
                    # Receiving such a message twice does no harm. Send it again only once: it may be the very message
                    # that raised this exception.
                    again.insert(0, letter)
            # One statement, because another exception may come here.
            self._round, self._sent_again, self._going = again + keep, again, None
        # A sent letter may be in a queue that its sender must run, and the exception came before that: `sleep` runs it.
        self._dispatcher.sleep(0)
        log.warning("courier_interrupted", error=shown_failure(error), exc_info=error)

    def _drain(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._dispatcher.post(*self._letters.popleft())


def as_answer(error: BaseException) -> BaseException:
    """Return the error that a client gets when the answer to its request is `error`."""
    return DatabaseClosedError() if isinstance(error, pykka.ActorDeadError) else error
