"""Room on the stack. Under the `caller` dispatcher, actors run on their callers' stacks, which may be nearly full."""

from __future__ import annotations

from typing import Final

ROOM_FRAMES: Final = 150
"""Three times as deep as opening, rebuilding or closing a store goes, without an application's own logging."""


class NoRoomError(RecursionError):
    """The stack of the thread that ran an actor was nearly full, which is not the actor's fault."""


def has_room() -> bool:
    """Return whether `ROOM_FRAMES` more nested calls are possible here. O(ROOM_FRAMES), some 10 µs."""
    try:
        _descend(ROOM_FRAMES)
    except RecursionError:
        return False
    return True


def _descend(frames: int) -> None:
    if frames:
        _descend(frames - 1)
