"""Taking locks and queue items in a thread that may be struck, without losing track of what was taken.

A thread is struck when an exception is raised in it from outside, by a signal handler or by another thread. CPython
raises it after a call, at the start of a function, or at a backward jump: so also after a call has taken a lock, but
before the assignment that notes it, and from Python 3.14 on between the two halves of a `with`. Unpacking a `map`
avoids that: one instruction calls the function, from C, and the next one stores the result; nothing strikes in between.
An item is noted before it is removed from its queue: to look at `queue[0]` is no call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from _thread import LockType, RLock
    from collections.abc import Callable
    from typing import TypeAlias

    Lock: TypeAlias = LockType | RLock

T = TypeVar("T")

AT_ONCE: Final = (False,)
"""The argument to `acquire` for not waiting, for use with `map`."""

_AT_LAST: Final = (True,)


def wait_for_turn(turn: LockType, lock: LockType, *, patiently: bool) -> bool:
    """Wait until `lock` is free, as the one thread that holds `turn`, and give both back.

    Args:
        turn: held while this waits.
        lock: acquired, then released.
        patiently: if another thread holds `turn`, wait for that, too, and do not return at once.

    Returns:
        Whether this thread was the one.
    """
    has_turn = has_lock = False
    try:
        try:
            (has_turn,) = map(turn.acquire, (patiently,))
            if has_turn:
                (has_lock,) = map(lock.acquire, _AT_LAST)
        finally:
            if has_turn:
                turn.release()
    finally:
        if has_lock:
            lock.release()
    return has_lock


def holding(lock: Lock, act: Callable[[], T]) -> T:
    """Call `act` while holding the lock; return its result. Whatever strikes, the lock is given back."""
    is_taken = False
    try:
        (is_taken,) = map(lock.acquire, _AT_LAST)
        return act()
    finally:
        if is_taken:
            lock.release()
