"""How long a thread that asks without a pause has the interpreter to itself.

Python promises a thread that waits for the interpreter that the one which has it is asked to let go after
`sys.getswitchinterval()`, 5 ms. A store breaks that promise unless it takes care: each write to the log lets go for a
microsecond, which is too short for anybody to wake up and take over, yet restarts the switch interval of every waiting
thread. So a thread that commits without a pause would starve the others, those that sync the log and set timers among
them; and each of its writes would pay for waking one of them in vain.

Here the promise is kept: whoever has had a turn sleeps for a moment, long enough for another thread to take over. While
several threads ask, turns are shorter, as each of them waits for those of all the others.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TURN_S: Final = 0.005
"""Of a thread that asks alone: Python's own switch interval. Giving way takes some 60 µs, a hundredth of it."""

SHARED_TURN_S: Final = 0.001
"""While others ask too. Which one comes next is chance, so one of four threads may wait for a dozen turns of the
others."""

SHARED_FOR_S: Final = 0.1
"""How long after the last change of threads a turn counts as shared."""

PAUSE_S: Final = 1e-6
"""The shortest sleep there is: the system makes some 55 µs of it, in which whoever waits has woken up."""


class Turns:
    """Looked at by threads that have just got a reply, and hold nothing that another one needs.

    Args:
        monotonic_s: a clock.
        pause: lets go of the interpreter for as many seconds.
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
        """The calling thread has waited for the disk: others have had the interpreter meanwhile."""
        self._rested = True

    def look(self) -> None:
        """Give way if the calling thread's turn is over."""
        # Threads may pass each other in here; then one of them gives way a turn later or earlier.
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
