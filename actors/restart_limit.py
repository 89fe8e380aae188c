"""How many failures are too many."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from inmem.actors.stack_room import NoRoomError

if TYPE_CHECKING:
    from inmem.engine.ports import Clock

RESTARTS_MAX = 5
RESTART_WINDOW_S = 10.0
"""More than `RESTARTS_MAX` failures within `RESTART_WINDOW_S` seconds, and the store gives up: whatever is wrong
will not be mended by trying again."""


class RestartLimit:
    """Remembers when actors failed.

    Args:
        clock: tells when.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: deque[float] = deque()

    def note(self, error: BaseException) -> None:
        """An actor has failed now. Only its own failures count: no restart mends a caller's stack, nor need it."""
        if isinstance(error, NoRoomError):
            return
        self._failures.append(self._clock.monotonic_s())
        while len(self._failures) > RESTARTS_MAX + 1:
            self._failures.popleft()

    def forget(self) -> None:
        """Somebody believes that the cause is gone: begin anew."""
        self._failures.clear()

    @property
    def is_exceeded(self) -> bool:
        """Whether the last failures came too fast."""
        failures = self._failures
        return len(failures) > RESTARTS_MAX and failures[-1] - failures[0] <= RESTART_WINDOW_S
