"""Room on a stack. Under `caller`, actors run on whatever stack their callers have, which may be nearly full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

ROOM_FRAMES: Final = 150
"""Three times what opening, rebuilding or closing a store takes, without an application's own logging."""


class NoRoomError(RecursionError):
    """The stack of the thread that ran an actor was nearly full: no fault of the actor's."""


class CutShortError(Exception):
    """An exception from outside has ended the thread that ran an actor: no fault of the actor's."""


def has_room() -> bool:
    """Return whether `ROOM_FRAMES` more calls are allowed here, one inside the other. O(that), some 10 µs."""
    try:
        _descend(ROOM_FRAMES)
    except RecursionError:
        return False
    return True


def cause_of(error: BaseException, traceback: TracebackType | None) -> BaseException:
    """Return why an actor was cut short by `error`: as NoRoomError if there was no room, else the error itself.

    An exception that was to end the thread is nobody else's: as CutShortError.

    Args:
        error: what came out of the actor.
        traceback: from where it was called down to where the error was raised.
    """
    if not isinstance(error, Exception):
        return CutShortError(repr(error)).with_traceback(error.__traceback__)
    if type(error) is not RecursionError:
        return error
    frames = 0
    while traceback is not None and frames < ROOM_FRAMES:
        traceback = traceback.tb_next
        frames += 1
    # An actor that calls itself without end fills the stack by itself.
    return error if frames == ROOM_FRAMES else NoRoomError(*error.args)


def _descend(frames: int) -> None:
    if frames:
        _descend(frames - 1)
