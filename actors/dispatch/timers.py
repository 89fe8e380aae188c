"""One thread that posts messages when their time has come. It starts with the first timer."""

from __future__ import annotations

import threading
import time
from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

from inmem.actors.dispatch.worker import Worker
from inmem.actors.event_log import QuietLogger
from inmem.engine.shown import shown_failure

if TYPE_CHECKING:
    from collections.abc import Callable

AGAIN_AFTER_S = 0.1
"""Long enough for what was missing, memory or a thread, to be there again, and soon for what is due."""

log = QuietLogger("inmem.timers")

_Timer: TypeAlias = "tuple[float, int, Callable[[], Any]]"
"""When, on the monotonic clock; a number, in the order in which they were set; and what to call."""


class Timers:
    """Calls functions later, in the order of their deadlines. Deadlines are on the monotonic clock.

    Whoever sets a timer only leaves it where the thread finds it, and holds no lock while it does. So an exception that
    somebody raises in the thread of an actor, wherever it strikes, may cost that actor's timer and nothing else. In the
    thread of the timers it costs none, but what it cuts short may be called a second time.
    """

    def __init__(self) -> None:
        self._arrived: deque[_Timer] = deque()
        self._numbers = count()
        # A heap; the thread's own.
        self._due: list[_Timer] = []
        self._worker = Worker("inmem-timers", self._call_what_is_due, self._cut_short)
        self._stopped = False

    def call_later(self, delay_s: float, function: Callable[[], Any]) -> None:
        """Call `function` in the timer thread once `delay_s` seconds have passed. It must not block.

        Should it raise, it is called again, until it does not: who has set a timer relies on that.
        """
        if self._stopped:
            return
        self._arrived.append((time.monotonic() + delay_s, next(self._numbers), function))
        self._worker.wake()
        if self._worker.thread is None:
            # If it cannot be, the program is at its end, and there is no later any more.
            self._worker.start()

    def stop(self) -> None:
        """Forget every timer and end the thread."""
        # What has arrived is the thread's to take away: it may have looked already, and be about to.
        self._stopped = True
        self._worker.wake()

    def _call_what_is_due(self) -> None:
        due = self._due
        arrived = self._arrived
        wait = self._worker.wait
        while not self._stopped:
            # What is taken from one place is in the next one before: cut short in between, it is in both.
            while arrived:
                heappush(due, arrived[0])
                arrived.popleft()
            if not due:
                wait()
                continue
            at_s, _, function = due[0]
            remaining_s = at_s - time.monotonic()
            if remaining_s > 0:
                wait(timeout=min(remaining_s, threading.TIMEOUT_MAX))
                continue
            try:
                function()
            except Exception as error:
                # The others wait for their time, whatever keeps this one.
                log.warning("timer_failed", error=shown_failure(error), exc_info=error)
                heappush(due, (time.monotonic() + AGAIN_AFTER_S, next(self._numbers), function))
            # Nothing has come before it: only this thread adds to the heap.
            heappop(due)
            del function
        due.clear()
        arrived.clear()

    def _cut_short(self, error: BaseException) -> None:
        log.warning("timer_failed", error=shown_failure(error), exc_info=error)
