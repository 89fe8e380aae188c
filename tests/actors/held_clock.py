"""A clock that can block its readers: the coordinator reads the clock in the middle of every `Begin`.

With the dispatcher `caller`, this blocks the thread that runs the queue, like a write to a slow disk.
"""

import threading

from inmem.actors.environment import SystemClock
from tests.actors.faulty_disk import FAILSAFE_S


class HeldClock(SystemClock):
    """The machine's clock.

    Attributes:
        arrived: set when a reader is blocked.
        costs_s: the monotonic time that passes at each reading of the time.
    """

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.costs_s = 0.0
        self._later_s = 0.0
        self._holds = False
        self._open = threading.Event()

    def hold(self) -> None:
        """Block the next reader; later readers pass."""
        self._holds = True

    def let_go(self) -> None:
        """Release the blocked reader."""
        self._open.set()

    def now_us(self) -> int:
        if self._holds:
            self._holds = False
            self.arrived.set()
            if not self._open.wait(FAILSAFE_S):
                raise TimeoutError("nobody has let the clock go")
        self._later_s += self.costs_s
        return super().now_us()

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self._later_s
