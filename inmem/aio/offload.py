"""Blocking calls from coroutines: in a thread, and once begun always to their end.

The threads are inmem's own. In the loop's default executor a program may have put what ends only when the store
closes, or what waits for the loop: behind that, nothing here would ever have its turn.
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
"""Calls of one loop that run at a time. Most wait for a commit, and what commits at the same time shares a sync."""

POOL_KEPT_S: Final = 10.0
"""Seconds after which a loop's threads end, unless calls are under way. To start one takes a tenth of a millisecond."""

_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[CallThreads]] = weakref.WeakKeyDictionary()
# A forked child has none of its parent's threads.
os.register_at_fork(after_in_child=_pools.clear)


async def run_in_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `fn` returns, called in a thread, so that the event loop never waits for a lock or a sync.

    A commit under way cannot be taken back. So a cancellation that comes before `fn` has begun is raised at once, and
    `fn` is never called; a later one waits until `fn` has come to its end and is raised then: when the caller goes on,
    nothing that it has asked for is still being written, or will be. What `fn` has raised is its cause.
    """
    return _result(*await begun_or_nothing(lambda: fn(*args, **kwargs)))


async def finish_in_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the same, but in a thread of its own, and call `fn` even if the task is cancelled before it has begun."""
    return _result(*await to_the_end(lambda: fn(*args, **kwargs)))


async def look_in_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `fn` returns, which changes nothing: called in a thread, and not waited for when cancelled."""
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
        # The traceback of an error holds this frame, which must not hold the error.
        del call


async def begun_or_nothing(fn: Callable[[], T]) -> tuple[Call[T], asyncio.CancelledError | None]:
    """Call `fn` in a thread, and once it has begun wait for its end, however often the task is cancelled meanwhile.

    Returns:
        The call, which is done; and the last cancellation, if there was one.

    Raises:
        CancelledError: before `fn` has begun; it is never called.
        RuntimeError: the system has no thread left, or the program is at its end; `fn` is never called.
    """
    # This frame is what holds the pool until the end: one that nobody holds ends its threads.
    pool = _pool()
    call = _call(fn)
    pool.submit(call)
    return call, await _seen_through(call, may_withdraw=True)


async def to_the_end(fn: Callable[[], T]) -> tuple[Call[T], asyncio.CancelledError | None]:
    """Call `fn` in a thread of its own, and wait for its end, however often the task is cancelled meanwhile.

    For what has to be done in any case, and at once, however many other calls wait for a thread.

    Returns:
        The call, which is done; and the last cancellation, if there was one.

    Raises:
        RuntimeError: the system has no thread left, or the program is at its end; `fn` is never called.
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
        # The traceback of an error holds this frame, which must not hold the error.
        del call, cancelled


def _call(fn: Callable[[], T]) -> Call[T]:
    return Call(asyncio.get_running_loop(), fn)


def _pool() -> CallThreads:
    """Return that of the running loop. Its threads end with the loop, and otherwise every few seconds."""
    loop = asyncio.get_running_loop()
    kept = _pools.get(loop)
    pool = None if kept is None else kept()
    if pool is None:
        pool = CallThreads(THREADS_MAX)
        _pools[loop] = weakref.ref(pool)
        # What holds it, besides the calls, is this: a loop that is closed drops what was to be called later.
        loop.call_later(POOL_KEPT_S, _let_go, pool)
    return pool


def _let_go(pool: CallThreads) -> None:
    """Nobody but the calls under way holds the pool any more."""
