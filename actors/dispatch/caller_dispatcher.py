"""The default dispatcher: threads that wait for a reply run the actors.

All mailboxes share one run queue. A thread that posts a message runs the queue, unless another thread does; then that
thread will get to the message, and the first one just waits for its reply. One thread at a time runs actors, so handing
a message over costs no thread switch: that is what makes thousands of commits a second possible.

Actors that may block have a thread of their own; the messages they send come back through the same queue. If such an
actor lends itself, and one thread waits for its work while no other thread waits, then that thread does the work: the
commit of the only client reaches the disk without a thread switch. While it does, others may run the queue.

The main thread runs actors only while no signal handler of the program's own could raise an exception in the middle of
a message. Otherwise it is exposed (interrupts.py), and a deputy, a thread of the dispatcher's own, runs the queue.

Two properties explain `_run`. No thread is trapped running other threads' work: once its reply has arrived or its time
is up, it hands the queue over to a thread that still waits, or leaves it to the next thread that posts. No message is
left behind: a thread that finds the lock taken has already queued its message, and a thread that releases it has a
successor or checks the queue again. `taking.py` explains why this holds when an exception strikes from outside.
"""

from __future__ import annotations

import threading
import time
from _thread import get_ident, start_new_thread
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

from inmem.actors.dispatch import interrupts
from inmem.actors.dispatch.deputy import Deputy
from inmem.actors.dispatch.future import ReplyFuture
from inmem.actors.dispatch.mailbox_lane import mailbox_lane
from inmem.actors.dispatch.reentrancy import handler_threads, require_outside
from inmem.actors.dispatch.taking import AT_ONCE, wait_for_turn
from inmem.actors.dispatch.timers import Timers
from inmem.actors.dispatch.turns import Turns
from inmem.actors.dispatch.unfinished import Unfinished

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inmem.actors.dispatch.dispatcher import Letter
    from inmem.actors.dispatch.mailbox import Mailbox, ReplyTo
    from inmem.actors.dispatch.mailbox_lane import Delivery, DeliveryLane

TELLER_MESSAGES_MAX = 64
"""Messages that a thread with no reply to wait for runs before it wants to be relieved."""

QUEUE_MESSAGES_MAX = 10_000
"""Messages in the run queue beyond which each thread that posts another one takes part in the work: bounds memory."""

LOOK_EVERY = 16
"""Replies between two checks of the clock, some 0.3 ms: each check costs a hundredth of a commit."""

_NOTHING: Final[ReplyFuture[None]] = ReplyFuture()
"""What a thread waits for that stops running the queue as soon as another one can: a reply that has arrived."""
_NOTHING.set()


class CallerDispatcher:
    """One run queue, run by the threads that wait for its results."""

    def __init__(self) -> None:
        self._queue: deque[tuple[Mailbox, Any, ReplyTo | None]] = deque()
        self._running = threading.Lock()
        self._relieving = threading.Lock()
        # `_runner`: ident of the thread that runs the queue. `_tired`: the same, once it wants to be relieved. Else 0.
        self._runner = 0
        self._tired = 0
        # Idents of the threads that run the queue, or are about to take or release the lock. A signal handler or a
        # finalizer that runs in one of them there must not wait for its own thread.
        self._entered: set[int] = set()
        # Messages to actors that lend themselves, sent by the thread that runs the queue; passed on when it stops.
        self._lent: list[tuple[DeliveryLane, Delivery]] = []
        # In the order in which they began to wait. To other threads, each method of an OrderedDict is one step.
        self._waiters: OrderedDict[ReplyFuture[Any], None] = OrderedDict()
        self._unfinished = Unfinished()
        self._lanes: dict[Mailbox, DeliveryLane] = {}
        self._deputy = Deputy(self._relieve)
        self._timers = Timers()
        self._turns = Turns()
        # Approximate: threads may overwrite each other's counts.
        self._asked = 0

    def future(self) -> ReplyFuture[Any]:
        """Return an empty future; a thread that waits for it runs the queue."""
        return ReplyFuture(self)

    def post(self, mailbox: Mailbox, message: Any, reply_to: ReplyTo | None) -> None:
        """Queue a message, and run the queue unless another thread does."""
        if mailbox.own_thread:
            if mailbox.lends_itself and self._runner == get_ident():
                self._lent.append((self._lane(mailbox), (message, reply_to)))
                return
            self._lane(mailbox).put((message, reply_to))
            if interrupts.pending:
                interrupts.raise_pending()
            return
        self._queue.append((mailbox, message, reply_to))
        if get_ident() in self._entered:
            # Sent by a handler: the thread that runs the handler comes to it next.
            return
        if not self._running.locked():
            if not self._deputized():
                self._run(None, None)
                self._asked += 1
                if not self._asked % LOOK_EVERY and get_ident() not in handler_threads:
                    self._turns.look()
        elif self._tired:
            if not self._deputized():
                self._relieve(patiently=False)
        elif len(self._queue) > QUEUE_MESSAGES_MAX:
            if interrupts.is_exposed():
                # This thread must never hold the lock: another that finds it taken would leave its message to this one.
                self._deputy.wait_for_turn()
            else:
                self._relieve(patiently=True)
        else:
            return
        if interrupts.pending:
            interrupts.raise_pending()

    def pass_on(self, mailbox: Mailbox, message: Any) -> None:
        """Queue a message: the thread that runs the handler comes to it next."""
        self._queue.append((mailbox, message, None))

    def ask(self, mailbox: Mailbox, message: Any, timeout_s: float | None) -> Any:
        """Queue a message, run the queue until the reply has arrived, unless another thread does, and return it."""
        future: ReplyFuture[Any] = ReplyFuture(self)
        if mailbox.own_thread:
            self._lane(mailbox).put((message, future))
            return future.get(timeout=timeout_s)
        self._queue.append((mailbox, message, future))
        # `_deputized` inlined, because every commit takes this path.
        if interrupts.is_exposed():
            self._deputize()
            return future.get(timeout=timeout_s)
        if timeout_s is not None:
            # `get` runs the queue as well, and watches the clock.
            return future.get(timeout=timeout_s)
        self._run(future, None)
        if interrupts.pending:
            interrupts.raise_pending()
        self._asked += 1
        # Without a reply this thread is about to wait anyway, or is inside a handler and must not pause.
        if not self._asked % LOOK_EVERY and future.done:
            self._turns.look()
        # `get` inlined, for the same reason.
        if future.done and future.error is None:
            return future.value
        return future.get()

    def post_all(self, letters: Iterable[Letter]) -> None:
        """Queue several messages, and only then have them run."""
        last: Letter | None = None
        for letter in letters:
            if letter[0].own_thread:
                self.post(*letter)
                continue
            if last is not None:
                self._queue.append(last)
            last = letter
        if last is not None:
            self.post(*last)

    def post_later(self, delay_s: float, mailbox: Mailbox, message: Any, *, idle: bool = False) -> None:  # noqa: ARG002
        """Queue a message later, from the timer thread."""
        self._timers.call_later(delay_s, lambda: self.post(mailbox, message, None))

    def wait(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Run the queue; when it is empty, or another thread runs it, block.

        Raises:
            UsageError: this thread is running an actor, and would wait for itself.
        """
        if not future.done:
            require_outside(runs_queue=get_ident() in self._entered)
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        if self._deputized():
            # A wake-up may be meant for another waiter of this future, chosen to run the queue: have the deputy run it.
            try:
                while not future.block(None if deadline_s is None else deadline_s - time.monotonic()):
                    if deadline_s is not None and time.monotonic() >= deadline_s:
                        return
                    self._deputize()
            finally:
                self._deputize()
            return
        future.arm()
        try:
            while True:
                self._waiters[future] = None
                self._run(future, deadline_s)
                if interrupts.pending:
                    interrupts.raise_pending()
                if future.done:
                    return
                remaining_s = None if deadline_s is None else deadline_s - time.monotonic()
                if (remaining_s is not None and remaining_s <= 0) or future.block(remaining_s):
                    return
        finally:
            # One call, so that a second Ctrl-C cannot come in between.
            try:
                self._leave(future)
            except BaseException:
                self._leave(future)  # The first call may have been struck before it began.
                raise

    def idle(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Block until the reply has arrived."""
        future.block(timeout_s)
        if interrupts.pending:
            interrupts.raise_pending()

    def sleep(self, delay_s: float) -> None:
        """Pause the calling thread, and resume it at a moment when no other thread runs the queue.

        A thread that retries a transaction then has the queue to itself. Otherwise it would lose time after time to a
        thread that never blocks, which holds the interpreter and, most of the time, the queue as well.
        """
        time.sleep(delay_s)
        if not interrupts.is_exposed():
            self._relieve(patiently=True)
            if interrupts.pending:
                interrupts.raise_pending()

    def depth(self, mailbox: Mailbox) -> int:
        """Count the messages waiting for this mailbox."""
        lane = self._lanes.get(mailbox)
        if lane is not None:
            return lane.depth() + len(mailbox.stash)
        # A copy, as other threads post. No tuple: creating one may run the collector, and so a finalizer that posts.
        return sum(1 for entry in self._queue.copy() if entry[0] is mailbox) + len(mailbox.stash)

    def backlog(self, mailbox: Mailbox) -> int:
        """Count the messages in the queue, for whichever mailbox: they are all delivered first."""
        return len(self._queue) + len(mailbox.stash)

    def close(self, mailbox: Mailbox) -> None:
        """End the thread of a retired mailbox, if it has one."""
        lane = self._lanes.pop(mailbox, None)
        if lane is not None:
            lane.close()

    def shut_down(self) -> None:
        """Stop the timers and the deputy."""
        self._timers.stop()
        self._deputy.end()

    def _lane(self, mailbox: Mailbox) -> DeliveryLane:
        lane = self._lanes.get(mailbox)
        return lane if lane is not None else self._lanes.setdefault(mailbox, mailbox_lane(mailbox))

    @interrupts.uninterrupted
    def _run(self, until: ReplyFuture[Any] | None, deadline_s: float | None) -> None:  # noqa: PLR0915  (calls cost)
        """Run the queue until it is empty, or, once `until` is done or time is up, until another thread does."""
        ident = get_ident()
        entered = self._entered
        if ident in entered:
            return
        queue = self._queue
        popleft = queue.popleft
        running = self._running
        lent = self._lent
        unfinished = self._unfinished
        budget = TELLER_MESSAGES_MAX
        at_hand = borrowed = None
        try:
            while queue or unfinished.is_any:
                entered.add(ident)
                (is_taken,) = map(running.acquire, AT_ONCE)
                if not is_taken:
                    entered.discard(ident)
                    return
                leaving = False
                try:
                    self._runner = ident
                    if unfinished.is_any:
                        unfinished.make_up()
                    while queue:
                        # Noted before it is taken: nothing strikes in between (taking.py).
                        mailbox, message, reply_to = at_hand = queue[0]
                        popleft()
                        actor = mailbox.actor
                        if actor is not None:
                            actor.handle(message, reply_to)
                        else:
                            mailbox.deliver(message, reply_to)
                        at_hand = None
                        if lent and queue:
                            self._pass_on_lent()
                        if until is not None:
                            if not until.done and (deadline_s is None or time.monotonic() < deadline_s):
                                continue
                        elif budget:
                            budget -= 1
                            continue
                        if not queue:
                            break  # No successor is needed: the thread that posts the next message runs it.
                        if self._relieving.locked():
                            return
                        if self._waiters:
                            leaving = True
                            break
                        self._tired = ident
                    if lent and deadline_s is None and not leaving and (borrowed := self._borrow(until)):
                        del lent[0]
                finally:
                    try:
                        if lent:
                            self._pass_on_lent()
                    finally:
                        self._runner = self._tired = 0
                        running.release()
                        entered.discard(ident)
                if borrowed is not None:
                    lane, delivery = borrowed
                    lane.handle_borrowed(delivery)
                    borrowed = None
                    lane.handling.release()
                    lane.given_back()
                    self._turns.rested()
                if leaving and self._hand_over(until):
                    return
        except BaseException as error:
            # Most likely the stack is full, so this calls no Python functions; C functions work where `popleft` did.
            # Each waiting thread has a stack of its own, and wakes to make up for what is unfinished.
            entered.discard(ident)
            if at_hand is not None:
                unfinished.messages.append((at_hand, (error, error.__traceback__)))
            if borrowed is not None:
                unfinished.deliveries.append((borrowed, (error, error.__traceback__)))
            unfinished.is_any = True
            for waiter in list(self._waiters):
                if waiter.baton is not None and waiter.baton.locked():
                    waiter.baton.release()
            # Some waiting threads never run the queue; the deputy does, unless the system has no thread left.
            if type(error) is not RuntimeError:
                try:  # noqa: SIM105  (a function of Python's)
                    start_new_thread(self._deputy.take_over, ())
                except RuntimeError:
                    pass
            raise

    def _borrow(self, until: ReplyFuture[Any] | None) -> tuple[DeliveryLane, Delivery] | None:
        """Return the first of `_lent` if this thread is to handle it; its lane is then reserved."""
        if until is None or until.done or self._waiters or len(self._lent) > 1:
            return None
        return self._lent[0] if self._lent[0][0].borrow() else None

    def _pass_on_lent(self) -> None:
        while self._lent:
            lane, delivery = self._lent[0]
            lane.put(delivery)
            del self._lent[0]

    @interrupts.uninterrupted
    def _relieve(self, *, patiently: bool) -> None:
        """Take over from the thread that runs the queue, as soon as that thread waits for nothing any more.

        If another thread is about to take over already, leave it to that one, or, if `patiently`, wait for a turn.
        """
        try:
            if wait_for_turn(self._relieving, self._running, patiently=patiently):
                self._run(None, None)
        except BaseException:
            # The thread that ran the queue may have stopped because this one was to take over.
            try:  # noqa: SIM105  (a function of Python's)
                start_new_thread(self._deputy.take_over, ())
            except RuntimeError:
                pass
            raise

    def _deputized(self) -> bool:
        """Leave the queue to the deputy if this thread is exposed, so that any line may raise; return whether it is."""
        if interrupts.is_exposed():
            self._deputize()
            return True
        return False

    def _deputize(self) -> None:
        if self._queue and (not self._running.locked() or self._tired not in {0, self._deputy.ident}):
            self._deputy.put()

    @interrupts.uninterrupted
    def _leave(self, future: ReplyFuture[Any]) -> None:
        """Stop waiting; if this thread has just been chosen to go on running the queue, run it."""
        self._waiters.pop(future, None)
        if self._queue:
            self._run(_NOTHING, None)

    def _hand_over(self, own: ReplyFuture[Any] | None) -> bool:
        """Wake a thread that still waits, to run the queue from here on; return whether there was one."""
        try:
            while True:
                waiter, _ = self._waiters.popitem(last=False)
                if waiter is not own and not waiter.done:
                    waiter.nudge()
                    return True
        except KeyError:
            return False
