"""Limits how long a thread that asks without a pause has the interpreter to itself.

Python promises a thread that waits for the interpreter that the thread holding it is asked to let go after
`sys.getswitchinterval()`, 5 ms. A store would break that promise: each write to the log releases the interpreter for a
microsecond, which is too short for another thread to wake up and take over, yet restarts the switch interval of every
waiting thread. So a thread that commits without a pause would starve the others, including those that sync the log and
set timers; and each of its writes would pay for waking one of them in vain.

This module keeps the promise: a thread whose turn is over sleeps for a moment, long enough for another one to take
over. While several threads ask, turns are shorter, because each thread waits for the turns of all the others.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TURN_S: Final = 0.005
"""The turn of a thread that asks alone: Python's switch interval. Giving way takes some 60 µs, a hundredth of it."""

SHARED_TURN_S: Final = 0.001
"""The turn of a thread while others ask too. Chance decides which one comes next, so one of four threads may wait for a
dozen turns of the others."""

SHARED_FOR_S: Final = 0.1
"""How long turns count as shared after one thread last followed another."""

PAUSE_S: Final = 1e-6
"""The shortest sleep possible: the system makes some 55 µs of it, in which a waiting thread wakes up."""


class Turns:
    """Whose turn it is. Threads look when they have just got a reply and hold nothing that another thread needs.

    Args:
        monotonic_s: a clock.
        pause: releases the interpreter for that many seconds.
    """

    __slots__ = ("_ends_s", "_monotonic_s", "_of", "_pause", "_rested", "_shared_until_s")

    def __init__(
        self, monotonic_s: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._monotonic_s = monotonic_s
        self._pause = pause
        self._of = 0
        self._ends_s = 0.0
        self._shared_until_s = 0.0
        self._rested = False

    def rested(self) -> None:
        """Note that the calling thread has waited for the disk, while others had the interpreter."""
        self._rested = True

    def look(self) -> None:
        """Give way if the calling thread's turn is over."""
        # Threads may race here; then one of them gives way a turn later or earlier.
        now_s = self._monotonic_s()
        ident = threading.get_ident()
        if ident == self._of and now_s < self._ends_s and not self._rested:
            return
        if ident != self._of:
            if self._of:
                self._shared_until_s = now_s + SHARED_FOR_S
            self._of = ident
        elif not self._rested:
            self._pause(PAUSE_S)
            now_s = self._monotonic_s()
        # A new turn begins.
        self._rested = False
        self._ends_s = now_s + (SHARED_TURN_S if now_s < self._shared_until_s else TURN_S)
