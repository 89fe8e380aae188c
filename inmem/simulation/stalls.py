"""Detect a client that has the turn but waits: nothing can end its wait, because everything else waits for the turn.

Such a client shows in its stack, which stays the same in every frame for longer than any slow machine could explain.
"""

# pyright: reportPrivateUsage=false
# The documented way to see the stacks of other threads has a name with an underscore.

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Final

from inmem.simulation.frames import is_theirs, line_of, package_of

if TYPE_CHECKING:
    from types import FrameType

LOOK_EVERY_S: Final = 1.0
"""Seconds between two looks at a client that has not given its turn back yet."""

STILL_LOOKS_MAX: Final = 30
"""After this many looks at the same stack the client is given up. Looks are counted, not seconds: a process that was
stopped for an hour has been looked at once."""

STACK_FRAMES_MAX: Final = 12
"""The number of frames shown of a stack."""

_DEBUGGERS: Final = frozenset(["bdb", "pdb", "pydevd", "_pydevd_bundle", "debugpy"])
"""A client may wait at the prompt of these for any length of time."""


class StallWatch:
    """Looks at a thread from time to time.

    Args:
        thread: its ident.
    """

    def __init__(self, thread: int) -> None:
        self._thread = thread
        self._seen: list[tuple[int, int]] = []
        self._still = 0

    def is_stalled(self) -> bool:
        """Look once more; return whether the thread has been seen in the same place too often."""
        frames = _frames_of(self._thread)
        seen = [(id(frame.f_code), frame.f_lasti) for frame in frames]
        is_still = seen == self._seen and not any(package_of(frame) in _DEBUGGERS for frame in frames)
        self._still = self._still + 1 if is_still else 0
        self._seen = seen
        return self._still >= STILL_LOOKS_MAX


def stack_of(thread: int) -> str:
    """Return a thread's stack as Python prints it: the innermost calls of the client's own code, most recent last.

    If the thread goes on meanwhile, this is where it was.
    """
    theirs = [frame for frame in _frames_of(thread) if is_theirs(frame)][:STACK_FRAMES_MAX]
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in reversed(theirs))
    return "".join(summary.format()).rstrip()


def place_of(thread: int) -> str:
    """Return the line of the client's own code where a thread is, as `line_of` does, or "" if it has not begun."""
    for frame in _frames_of(thread):
        if is_theirs(frame):
            return line_of(frame, frame.f_lineno)
    return ""


def _frames_of(thread: int) -> list[FrameType]:
    """Return the frames of a thread, the innermost first; none if it has not begun or has ended."""
    frames: list[FrameType] = []
    frame = sys._current_frames().get(thread)  # noqa: SLF001
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames
