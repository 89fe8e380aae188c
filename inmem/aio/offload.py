"""Blocking calls for coroutines: they run in a thread, and always to their end once they have begun.

The threads are inmem's own. A program may fill the loop's default executor with calls that end only when the store
closes, or that wait for the loop; calls queued behind them would never run.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from inmem.aio.call_threads import Call, CallThreads, make_in_own_thread

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

THREADS_MAX: Final = 32
"""Calls of one loop that run at a time. Most wait for a commit, and concurrent commits share a sync."""

POOL_KEPT_S: Final = 10.0
"""Seconds after which a loop's threads end unless calls are running. Starting a thread takes 0.1 milliseconds."""

_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[CallThreads]] = weakref.WeakKeyDictionary()
# A forked child has none of its parent's threads.
os.register_at_fork(after_in_child=_pools.clear)


async def run_in_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `fn` in a thread and return its result; the event loop never waits for a lock or a sync.

    A commit in progress cannot be undone. So a cancellation before `fn` has begun is raised at once, and `fn` is never
    called. A later cancellation is raised only after `fn` has ended: when the caller continues, nothing it asked for is
    still being written or will be. An exception from `fn` becomes the cause of the cancellation.
    """
    return _result(*await begun_or_nothing(lambda: fn(*args, **kwargs)))


async def finish_in_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the same as `run_in_thread`, but in a new thread, and call `fn` even if the task is cancelled first."""
    return _result(*await to_the_end(lambda: fn(*args, **kwargs)))


async def look_in_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `fn`, which only reads, in a thread and return its result; if cancelled, do not wait for it."""
    pool = _pool()
    call = _call(lambda: fn(*args, **kwargs))
    pool.submit(call)
    try:
        await call.end()
    except asyncio.CancelledError:
        call.withdraw()
        raise
    try:
        return call.result()
    finally:
        # The traceback keeps this frame alive, and the frame must not keep the error alive.
        del call


async def begun_or_nothing(fn: Callable[[], T]) -> tuple[Call[T], asyncio.CancelledError | None]:
    """Call `fn` in a thread; once it has begun, wait for its end, however often the task is cancelled.

    Returns:
        The finished call, and the last cancellation, if there was one.

    Raises:
        CancelledError: the task was cancelled before `fn` had begun; `fn` is never called.
        RuntimeError: the system has no thread left, or the interpreter is exiting; `fn` is never called.
    """
    # This frame keeps the pool alive until the call ends: a pool without references ends its threads.
    pool = _pool()
    call = _call(fn)
    pool.submit(call)
    return call, await _seen_through(call, may_withdraw=True)


async def to_the_end(fn: Callable[[], T]) -> tuple[Call[T], asyncio.CancelledError | None]:
    """Call `fn` in a new thread and wait for its end, however often the task is cancelled.

    For calls that must run in any case, and at once, however many other calls wait for a thread.

    Returns:
        The finished call, and the last cancellation, if there was one.

    Raises:
        RuntimeError: the system has no thread left, or the interpreter is exiting; `fn` is never called.
    """
    call = _call(fn)
    make_in_own_thread(call)
    return call, await _seen_through(call, may_withdraw=False)


async def _seen_through(call: Call[T], *, may_withdraw: bool) -> asyncio.CancelledError | None:
    cancelled: asyncio.CancelledError | None = None
    while not call.is_done:
        try:
            await call.end()
        except asyncio.CancelledError as error:
            if may_withdraw and call.withdraw():
                raise
            cancelled = error
    return cancelled


def _result(call: Call[T], cancelled: asyncio.CancelledError | None) -> T:
    try:
        if cancelled is not None:
            raise cancelled from call.error
        return call.result()
    finally:
        # The traceback keeps this frame alive, and the frame must not keep the error alive.
        del call, cancelled


def _call(fn: Callable[[], T]) -> Call[T]:
    return Call(asyncio.get_running_loop(), fn)


def _pool() -> CallThreads:
    """Return the running loop's pool, which lasts as long as the loop, or for `POOL_KEPT_S` and its running calls."""
    loop = asyncio.get_running_loop()
    kept = _pools.get(loop)
    pool = None if kept is None else kept()
    if pool is None:
        pool = CallThreads(THREADS_MAX)
        _pools[loop] = weakref.ref(pool)
        # Besides running calls, only this timer keeps the pool alive. A closed loop drops its timers.
        loop.call_later(POOL_KEPT_S, _let_go, pool)
    return pool


def _let_go(pool: CallThreads) -> None:
    """Do nothing: the timer's reference to the pool ends here, and only running calls keep the pool alive."""
