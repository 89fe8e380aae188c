"""Whoever waits for a store from within one of its handlers waits for itself, and everybody else with it.

No handler does. But Python runs finalizers wherever the garbage collector strikes, and structlog its processors
wherever something is logged: the program's own code may find itself in the middle of a handler.
"""

from __future__ import annotations

import os
from _thread import get_ident

from inmem.engine.errors import UsageError

own_threads: set[int] = set()
"""Idents of the threads that the store has started: nobody's to end."""

handler_threads: set[int] = set()
"""Idents of the threads that are handling something, or do nothing else, but for those that run a run queue."""


def _forget_all() -> None:
    """In a forked child none of them is there, and the system gives their idents to others."""
    own_threads.clear()
    handler_threads.clear()


os.register_at_fork(after_in_child=_forget_all)


def require_outside(*, runs_queue: bool = False) -> None:
    """Return only if this thread may wait for a store.

    Args:
        runs_queue: it is running the queue of a dispatcher.

    Raises:
        UsageError: it is handling something. What it has asked for is done all the same.
    """
    if runs_queue or get_ident() in handler_threads:
        raise UsageError(
            "the store cannot be waited for from within one of its own actors, where a finalizer (__del__) or a"
            " processor of log events has called it; what was asked for is done once the actor is through"
        )
