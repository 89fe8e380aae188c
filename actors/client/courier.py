"""A thread that sends messages for threads that must not wait: the threads of event loops.

Sending a message may mean to run actors for a while, and to wait for a turn (caller_dispatcher.py). An event loop has
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
"""What has come meanwhile goes out together, so that it can be carried out together: as much as one commit takes."""

log = QuietLogger("inmem.courier")


class Courier:
    """Sends messages, from a daemon thread of its own, in the order in which it was given them.

    The thread starts with the first message and ends with `close`, or when nobody has the courier any more. A message
    that comes later, such as the withdrawal of a commit, has a thread for itself; none if its
    receiver has stopped. An exception that somebody raises in it from outside ends it no more than that of an actor
    (worker.py). What was on its way to the store just then is not sent again, as it may have arrived: it is answered
    with `CommitOutcomeUnknownError`, and perhaps once more when the store has done it. The first answer counts.

    Args:
        dispatcher: of all receivers.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        bag = self._bag = _Bag(dispatcher)
        self._end = weakref.finalize(self, bag.close)
        self._end.atexit = False

    def start(self) -> None:
        """Start the thread now, so that no message has to wait for that.

        Raises:
            RuntimeError: the system has no thread left, or the program is at its end.
        """
        self._start(self._bag)

    def send(self, ref: MailboxRef, message: Any, reply_to: ReplyTo | None) -> None:
        """Have a message sent whose answer goes to `reply_to`. Never waits, but to start a thread.

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
        """End the thread once it has sent what it was given."""
        self._end()

    def _send_late(self, letter: Letter) -> None:
        bag = _Bag(self._dispatcher)
        bag.put(letter)
        # Before the start: the thread ends as soon as it has sent this.
        bag.close()
        self._start(bag)

    def _start(self, bag: _Bag) -> None:
        # Nothing to send as yet. A dispatcher that takes no messages says so now: that of a simulation from threads,
        # that of a forked child's parent from anybody. Later nobody who waits in a loop would hear of it.
        self._dispatcher.post_all(())
        if not bag.worker.start():
            raise RuntimeError("the program is at its end: no thread can be started any more")


class _Bag:
    """The letters of one thread. Not the courier itself: the thread must not be what keeps that alive."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._letters: deque[Letter] = deque()
        # What goes out together next; and while it does, how far the dispatcher has come in it.
        self._round: list[Letter] = []
        self._going: Iterator[Letter] | None = None
        self._sent_again: list[Letter] = []
        self.is_closed = False
        self._is_over = False
        self.worker = Worker("inmem-courier", self._carry, self._cut_short)

    def put(self, letter: Letter) -> None:
        """Have the thread send a letter."""
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
        # Whoever had found this bag before it was closed may put a letter now. It looks at the flag afterwards, so one
        # of us sees the other.
        self._drain()

    def _collect(self) -> None:
        """Move what has come meanwhile to the next round.

        A function of its own, so that nothing holds a letter that has been sent while the next one is waited for.
        """
        letters = self._letters
        next_round = self._round
        # What is taken from one place is in the next one before: cut short in between, it was in both.
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
            # Those before them are on their way: a dispatcher holds on to one at most while it takes the next.
            for letter in reversed(self._round[max(0, come_to - 2) : come_to]):
                reply_to = letter[2]
                if reply_to is not None:
                    reason = f"{shown_failure(error)} was raised from outside in the thread that was sending it"
                    unknown = CommitOutcomeUnknownError("", reason)
                    with contextlib.suppress(Full):
                        reply_to.set_exception((CommitOutcomeUnknownError, unknown, None))
                elif not any(letter is sent_again for sent_again in self._sent_again):
                    # Such news may well be heard twice; but should it be what has raised this, then not for ever.
                    again.insert(0, letter)
            # At one go, as this may be cut short as well.
            self._round, self._sent_again, self._going = again + keep, again, None
        # What is on its way may be in a queue that whoever sends has to run, and cut short before that.
        self._dispatcher.sleep(0)
        log.warning("courier_interrupted", error=shown_failure(error), exc_info=error)

    def _drain(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._dispatcher.post(*self._letters.popleft())


def as_answer(error: BaseException) -> BaseException:
    """Return what a client is told when the answer to a request is `error`."""
    return DatabaseClosedError() if isinstance(error, pykka.ActorDeadError) else error
