"""A thread that waits for a store from within one of its handlers waits for itself, and blocks all others with it.

No handler does that. But Python runs finalizers wherever the garbage collector runs, and structlog its processors
wherever something is logged: so the program's own code may be called in the middle of a handler.
"""

from __future__ import annotations

import os
from _thread import get_ident

from inmem.engine.errors import UsageError

own_threads: set[int] = set()
"""Idents of the threads that the store has started: no exception from outside may end them."""

handler_threads: set[int] = set()
"""Idents of the threads that are handling an item, or do nothing else; those that run a run queue are not included."""


def _forget_all() -> None:
    """Forget all idents, in a forked child: the threads do not exist there, and the system reuses their idents."""
    own_threads.clear()
    handler_threads.clear()


os.register_at_fork(after_in_child=_forget_all)


def require_outside(*, runs_queue: bool = False) -> None:
    """Raise unless this thread may wait for a store.

    Args:
        runs_queue: whether it is running the queue of a dispatcher.

    Raises:
        UsageError: it is handling something. Its request is handled all the same.
    """
    if runs_queue or get_ident() in handler_threads:
        raise UsageError(
            "the store cannot be waited for from within one of its own actors, where a finalizer (__del__) or a"
            " processor of log events has called it; what was asked for is done once the actor is through"
        )
