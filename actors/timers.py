"""One thread that posts messages when their time has come. It starts with the first timer."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from sortedcontainers import SortedKeyList

if TYPE_CHECKING:
    from collections.abc import Callable


class Timers:
    """Calls functions later, in the order of their deadlines. Deadlines are on the monotonic clock."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._due: SortedKeyList[tuple[float, int, Callable[[], Any]], tuple[float, int]] = SortedKeyList(
            key=lambda item: item[:2]
        )
        self._count = 0
        self._thread: threading.Thread | None = None
        self._stopped = False

    def call_later(self, delay_s: float, function: Callable[[], Any]) -> None:
        """Call `function` in the timer thread once `delay_s` seconds have passed. It must not block."""
        with self._wake:
            if self._stopped:
                return
            self._count += 1
            self._due.add((time.monotonic() + delay_s, self._count, function))
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="inmem-timers", daemon=True)
                self._thread.start()
            self._wake.notify()

    def stop(self) -> None:
        """Forget every timer and end the thread."""
        with self._wake:
            self._stopped = True
            self._due.clear()
            self._wake.notify()

    def _loop(self) -> None:
        while True:
            with self._wake:
                while not self._stopped:
                    if not self._due:
                        self._wake.wait()
                        continue
                    remaining_s = self._due[0][0] - time.monotonic()
                    if remaining_s <= 0:
                        break
                    self._wake.wait(remaining_s)
                if self._stopped:
                    return
                _, _, function = self._due.pop(0)
            function()
