"""Blocking calls for coroutines: they run in a thread, and always to their end once they have begun.

The threads are inmem's own. A program may fill the loop's default executor with calls that end only when the store
closes, or that wait for the loop; calls queued behind them would never run.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from inmem.aio.port import call_soon

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

THREADS_MAX: Final = 32
"""Calls of one loop that run at a time. Most wait for a commit, and concurrent commits share a sync."""

POOL_KEPT_S: Final = 10.0
"""Seconds after which a loop's threads end unless calls are running. Starting a thread takes 0.1 milliseconds."""

_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[ThreadPoolExecutor]] = (
    weakref.WeakKeyDictionary()
)
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
    call = _submitted(pool, lambda: fn(*args, **kwargs))
    try:
        await _end_of(call)
    except asyncio.CancelledError:
        call.cancel()
        raise
    return call.result()


async def begun_or_nothing(fn: Callable[[], T]) -> tuple[Future[T], asyncio.CancelledError | None]:
    """Call `fn` in a thread; once it has begun, wait for its end, however often the task is cancelled.

    Returns:
        The call as a finished future, and the last cancellation, if there was one.

    Raises:
        CancelledError: the task was cancelled before `fn` had begun; `fn` is never called.
        RuntimeError: the system has no thread left, or the interpreter is exiting; `fn` is never called.
    """
    return await _seen_through(_pool(), fn, may_withdraw=True)


async def to_the_end(fn: Callable[[], T]) -> tuple[Future[T], asyncio.CancelledError | None]:
    """Call `fn` in a new thread and wait for its end, however often the task is cancelled.

    For calls that must run in any case, and at once, however many other calls wait for a thread.

    Returns:
        The call as a finished future, and the last cancellation, if there was one.

    Raises:
        RuntimeError: the system has no thread left, or the interpreter is exiting; `fn` is never called.
    """
    return await _seen_through(ThreadPoolExecutor(1, "inmem-aio-end"), fn, may_withdraw=False)


async def _seen_through(
    pool: ThreadPoolExecutor, fn: Callable[[], T], *, may_withdraw: bool
) -> tuple[Future[T], asyncio.CancelledError | None]:
    # This frame keeps the pool alive until the call ends: a pool without references ends its threads.
    call = _submitted(pool, fn)
    cancelled: asyncio.CancelledError | None = None
    while not call.done():
        try:
            await _end_of(call)
        except asyncio.CancelledError as error:
            if may_withdraw and call.cancel():
                raise
            cancelled = error
    return call, cancelled


def _result(call: Future[T], cancelled: asyncio.CancelledError | None) -> T:
    if cancelled is not None:
        raise cancelled from call.exception()
    return call.result()


def _pool() -> ThreadPoolExecutor:
    """Return the running loop's pool. Its threads end with the loop, or once idle after `POOL_KEPT_S` seconds."""
    loop = asyncio.get_running_loop()
    kept = _pools.get(loop)
    pool = None if kept is None else kept()
    if pool is None:
        pool = ThreadPoolExecutor(THREADS_MAX, "inmem-aio")
        _pools[loop] = weakref.ref(pool)
        # Besides running calls, only this timer keeps the pool alive. A closed loop drops its timers.
        loop.call_later(POOL_KEPT_S, _let_go, pool)
    return pool


def _let_go(pool: ThreadPoolExecutor) -> None:
    """Do nothing: the timer's reference to the pool ends here, and only running calls keep the pool alive."""


def _submitted(pool: ThreadPoolExecutor, fn: Callable[[], T]) -> Future[T]:
    # Not the pool's own future: the pool queues a call before it tries to start a thread. If that fails, another
    # call's thread would still run the queued call. A cancelled future of ours prevents that.
    call: Future[T] = Future()
    try:
        pool.submit(copy_context().run, _carry_out, call, fn)
    except RuntimeError:
        call.cancel()
        raise
    return call


def _carry_out(call: Future[T], fn: Callable[[], T]) -> None:
    if not call.set_running_or_notify_cancel():
        return
    try:
        result = fn()
    except BaseException as error:  # noqa: BLE001  (for whoever awaits it)
        call.set_exception(error)
        # The traceback keeps this frame alive, and the frame must not keep the error alive.
        del call
    else:
        call.set_result(result)


async def _end_of(call: Future[T]) -> None:
    """Return when a call has ended. Creates no task that code cancelling all tasks could find."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    call.add_done_callback(lambda _: call_soon(loop, end))
    await ended
