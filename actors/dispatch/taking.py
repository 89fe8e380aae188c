"""Taking locks in a thread in which somebody may raise an exception from outside, and knowing what has been taken.

Such an exception strikes behind a call, at the beginning of a function, or where a loop goes back: also when a call has
taken a lock, and before the line is done that notes it. Unpacking a `map` is a step in which C calls what takes it, and
the next one notes it; nothing strikes in between. What is taken from a queue is noted first: looking at it is no call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _thread import LockType

AT_ONCE: Final = (False,)
"""The argument of a lock's `acquire` that does not wait, for `map`."""


def pass_through(place: LockType, lock: LockType, *, patiently: bool) -> bool:
    """Wait until `lock` is free, as the one thread that has `place`; return whether this has been that thread.

    Args:
        place: held while this waits.
        lock: taken, and given back.
        patiently: wait for `place`, too.
    """
    has_place = has_lock = False
    try:
        try:
            (has_place,) = map(place.acquire, (patiently,))
            if has_place:
                (has_lock,) = map(lock.acquire, (True,))
        finally:
            if has_place:
                place.release()
    finally:
        if has_lock:
            lock.release()
    return has_lock
