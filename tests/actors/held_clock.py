"""A clock by which the store takes its time: the coordinator reads it in the middle of every `Begin`.

Under the dispatcher `caller` the thread that runs the queue is held up with it, as by a write to a slow disk.
"""

import threading

from inmem.actors.environment import SystemClock
from tests.actors.faulty_disk import FAILSAFE_S


class HeldClock(SystemClock):
    """The machine's clock.

    Attributes:
        arrived: somebody is being held up.
        costs_s: so much monotonic time passes whenever somebody asks what time it is.
    """

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.costs_s = 0.0
        self._later_s = 0.0
        self._holds = False
        self._open = threading.Event()

    def hold(self) -> None:
        """Hold up the next one who asks what time it is; those after him pass."""
        self._holds = True

    def let_go(self) -> None:
        """Let him go on."""
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
