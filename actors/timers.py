"""One thread that posts messages when their time has come. It starts with the first timer."""

from __future__ import annotations

import threading
import time
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any

from sortedcontainers import SortedKeyList

from inmem.actors.event_log import QuietLogger
from inmem.actors.threads import start_thread, unlock

if TYPE_CHECKING:
    from collections.abc import Callable

log = QuietLogger("inmem.timers")


class Timers:
    """Calls functions later, in the order of their deadlines. Deadlines are on the monotonic clock.

    Whoever sets a timer only leaves it where the thread finds it, and holds no lock while it does. So an exception that
    somebody raises in the thread of an actor, wherever it strikes, may cost that actor's timer and nothing else.
    """

    def __init__(self) -> None:
        self._arrived: deque[tuple[float, int, Callable[[], Any]]] = deque()
        self._numbers = count()
        # Locked while there is nothing that the thread has not seen; whoever brings something unlocks it.
        self._nothing_new = threading.Lock()
        self._nothing_new.acquire()
        # A signal handler or a finalizer may run in the thread that holds it, and set a timer.
        self._starting = threading.RLock()
        # Held for ever by the one thread that runs, should two have been started.
        self._running = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def call_later(self, delay_s: float, function: Callable[[], Any]) -> None:
        """Call `function` in the timer thread once `delay_s` seconds have passed. It must not block."""
        if self._stopped:
            return
        self._arrived.append((time.monotonic() + delay_s, next(self._numbers), function))
        unlock(self._nothing_new)
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(target=self._loop, name="inmem-timers", daemon=True)
                    # At the end of the program there is no later any more.
                    # Not before: cut short here, the next call starts another thread, and of two one goes.
                    if start_thread(thread) and self._thread is None:
                        self._thread = thread

    def stop(self) -> None:
        """Forget every timer and end the thread."""
        # What has arrived is the thread's to take away: it may have looked already, and be about to.
        self._stopped = True
        unlock(self._nothing_new)

    def _loop(self) -> None:
        if not self._running.acquire(blocking=False):
            return
        self._thread = threading.current_thread()
        due: SortedKeyList[tuple[float, int, Callable[[], Any]], tuple[float, int]] = SortedKeyList(
            key=lambda item: item[:2]
        )
        arrived = self._arrived
        while not self._stopped:
            while arrived:
                due.add(arrived.popleft())
            if not due:
                self._nothing_new.acquire()
                continue
            remaining_s = due[0][0] - time.monotonic()
            if remaining_s > 0:
                self._nothing_new.acquire(timeout=min(remaining_s, threading.TIMEOUT_MAX))
                continue
            _, _, function = due.pop(0)
            try:
                function()
            except Exception as error:
                # The others wait for their time, whatever keeps this one.
                log.warning("timer_failed", error=repr(error), exc_info=error)
