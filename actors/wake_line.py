"""The threads whose replies are there, in the order in which they are woken.

Replies come in groups, as those of a group commit do. Fifty threads woken at once would wait for the interpreter and
take it from each other; so each, when it stops waiting, wakes the next. Whoever answers starts that, and again when a
message has been handled and nobody is on the way.

Nobody is left asleep. Who stops waiting says so first and then wakes the next; whoever takes a future out of the line
looks afterwards whether somebody waits for it. So either that thread is seen to be gone, and the one behind it is
woken, or it goes later, and wakes that one itself.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from inmem.actors.future import ReplyFuture

if TYPE_CHECKING:
    from collections.abc import Sized

_NOBODY: Final[ReplyFuture[None]] = ReplyFuture()


class WakeLine:
    """Futures that are done, and whose waiting threads have not been woken yet. For use by any thread."""

    __slots__ = ("_futures", "_woken", "futures")

    def __init__(self) -> None:
        self._futures: deque[ReplyFuture[Any]] = deque()
        self._woken: ReplyFuture[Any] = _NOBODY
        self.futures: Final[Sized] = self._futures
        """Those in the line: looked at after every message, so a field and no method."""

    def append(self, future: ReplyFuture[Any]) -> None:
        """Put a future that is done at the end of the line; `wake_next` has to follow."""
        self._futures.append(future)

    def is_moving(self) -> bool:
        """Whether somebody has been woken who will wake the next."""
        return self._woken.waiting > 0

    def wake_next(self) -> None:
        """Wake the first in the line that still waits."""
        while self._futures:
            try:
                future = self._futures.popleft()
            except IndexError:
                return
            self._woken = future
            future.nudge()
            if future.waiting:
                return

    def leave(self, future: ReplyFuture[Any]) -> None:
        """Say that the calling thread does not wait for `future` any more, and wake the next."""
        future.disarm()
        if self._woken is future:
            # And whatever the reply holds on to is let go.
            self._woken = _NOBODY
        if self._futures:
            self.wake_next()
