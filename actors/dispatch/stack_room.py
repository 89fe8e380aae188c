"""Room on the stack. Under the `caller` dispatcher, actors run on their callers' stacks, which may be nearly full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

ROOM_FRAMES: Final = 150
"""Three times as deep as opening, rebuilding or closing a store goes, without an application's own logging."""


class NoRoomError(RecursionError):
    """The stack of the thread that ran an actor was nearly full, which is not the actor's fault."""


class CutShortError(Exception):
    """An exception from outside has ended the thread that ran an actor, which is not the actor's fault."""


def has_room() -> bool:
    """Return whether `ROOM_FRAMES` more nested calls are possible here. O(ROOM_FRAMES), some 10 µs."""
    try:
        _descend(ROOM_FRAMES)
    except RecursionError:
        return False
    return True


def cause_of(error: BaseException, traceback: TracebackType | None) -> BaseException:
    """Return why `error` interrupted an actor: as NoRoomError if the stack was full, else the error itself.

    An exception that was to end the thread concerns nobody else, and is returned as CutShortError.

    Args:
        error: the exception that left the actor.
        traceback: from the call of the actor down to where the error was raised.
    """
    if not isinstance(error, Exception):
        return CutShortError(repr(error)).with_traceback(error.__traceback__)
    if type(error) is not RecursionError:
        return error
    frames = 0
    while traceback is not None and frames < ROOM_FRAMES:
        traceback = traceback.tb_next
        frames += 1
    # An actor that recurses without end fills the stack by itself.
    return error if frames == ROOM_FRAMES else NoRoomError(*error.args)


def _descend(frames: int) -> None:
    if frames:
        _descend(frames - 1)
