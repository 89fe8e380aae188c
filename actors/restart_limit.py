"""How many failures are too many."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from inmem.actors.dispatch.stack_room import NoRoomError
from inmem.actors.dispatch.unfinished import CutShortError
from inmem.engine.shown import shown_failure

if TYPE_CHECKING:
    from inmem.actors.messages.control import ActorFailed
    from inmem.engine.ports import Clock

RESTARTS_MAX = 5
RESTART_WINDOW_S = 10.0
"""An actor that fails more than `RESTARTS_MAX` times within `RESTART_WINDOW_S` seconds is given up: whatever is wrong,
another try will not mend it."""


class RestartLimit:
    """Counts the failures of one actor, or of actors that are rebuilt together.

    Args:
        clock: dates the failures.

    Attributes:
        is_exceeded: whether failures have come too fast, at any time since the beginning or the last `forget`.
        last_failure: the newest failure, in words.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: deque[float] = deque()
        self.is_exceeded = False
        self.last_failure = ""

    def note_failed(self, failed: ActorFailed) -> None:
        """Note a failure. Only the actor's own ones count: no restart mends a caller's stack or undoes its end."""
        if failed.is_its_own:
            self.note(failed.error)

    def note(self, error: BaseException) -> None:
        """Note a failure of the actor, or of its replacement."""
        if isinstance(error, NoRoomError | CutShortError):
            return
        self.last_failure = shown_failure(error)
        failures = self._failures
        failures.append(self._clock.monotonic_s())
        while len(failures) > RESTARTS_MAX + 1:
            failures.popleft()
        if len(failures) > RESTARTS_MAX and failures[-1] - failures[0] <= RESTART_WINDOW_S:
            self.is_exceeded = True

    def forget(self) -> None:
        """Begin anew, because the cause is believed to be gone."""
        self._failures.clear()
        self.is_exceeded = False
