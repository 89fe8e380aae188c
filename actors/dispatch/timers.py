"""One thread that posts messages when they are due. It starts with the first timer."""

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
"""Long enough for memory or a thread to be available again if it was missing, short enough for an overdue timer."""

log = QuietLogger("inmem.timers")

_Timer: TypeAlias = "tuple[float, int, Callable[[], Any]]"
"""The deadline, on the monotonic clock; a number, in the order in which timers were set; and the function to call."""


class Timers:
    """Calls functions later, in the order of their deadlines. Deadlines are on the monotonic clock.

    Setting a timer only leaves it where the timer thread finds it, and holds no lock. So an exception that other code
    raises in the thread of an actor, at whatever point, may lose that actor's timer and nothing else. In the timer
    thread it loses none, but an interrupted function may be called a second time.
    """

    def __init__(self) -> None:
        self._arrived: deque[_Timer] = deque()
        self._numbers = count()
        # A heap that only the timer thread uses.
        self._due: list[_Timer] = []
        self._worker = Worker("inmem-timers", self._call_what_is_due, self._cut_short)
        self._stopped = False

    def call_later(self, delay_s: float, function: Callable[[], Any]) -> None:
        """Call `function` in the timer thread once `delay_s` seconds have passed. It must not block.

        If it raises, it is called again until it does not, because the code that set the timer relies on it.
        """
        if self._stopped:
            return
        self._arrived.append((time.monotonic() + delay_s, next(self._numbers), function))
        self._worker.wake()
        if self._worker.thread is None:
            # If it cannot start, the program is at its end, and the timer would never be due.
            self._worker.start()

    def stop(self) -> None:
        """Forget every timer and end the thread."""
        # Only the thread empties `arrived`: it may have looked already, and be about to take a timer.
        self._stopped = True
        self._worker.wake()

    def _call_what_is_due(self) -> None:
        due = self._due
        arrived = self._arrived
        wait = self._worker.wait
        while not self._stopped:
            # A timer joins the heap before it leaves `arrived`: an exception in between leaves it in both.
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
                # A timer that fails must not delay the others.
                log.warning("timer_failed", error=shown_failure(error), exc_info=error)
                heappush(due, (time.monotonic() + AGAIN_AFTER_S, next(self._numbers), function))
            # Still the first one: only this thread adds to the heap.
            heappop(due)
            del function
        due.clear()
        arrived.clear()

    def _cut_short(self, error: BaseException) -> None:
        log.warning("timer_failed", error=shown_failure(error), exc_info=error)
