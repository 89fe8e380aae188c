"""Daemon threads that make calls for an event loop.

A `concurrent.futures.ThreadPoolExecutor` would not do. A second Ctrl-C raises KeyboardInterrupt anywhere in the loop's
thread, `Thread.start` included, which waits until the thread is there. The executor enters a thread among those that
Python wakes at its end only after that: one that it has not entered is waited for, and never woken. Nor is any of its
locks safe there. So here no lock is taken in the loop's thread but by `Thread.start`, what is struck out half-way is
one thread too many at most, and Python waits for calls, not for threads.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from inmem.actors.dispatch.threads import start_thread
from inmem.aio.port import call_soon

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

T = TypeVar("T")

_under_way: set[threading.Lock] = set()
"""One for each call that has begun, released when it has ended."""


def _finish_calls() -> None:
    """At the end of the program, wait until each call that has begun has ended."""
    for ending in [*_under_way]:
        ending.acquire()


atexit.register(_finish_calls)
# A forked child has none of its parent's threads.
os.register_at_fork(after_in_child=_under_way.clear)


class Call(Generic[T]):
    """One call. All but `make` is for the loop's thread.

    Args:
        loop: where its end is awaited.
        fn: is called, in the context of whoever has made this.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fn: Callable[[], T]) -> None:
        self._loop = loop
        # Whoever takes it out decides: the thread that makes the call, or the loop that withdraws it.
        self._to_do = [fn]
        self._context = copy_context()
        self._heard: asyncio.Future[None] | None = None
        self._results: list[T] = []
        self.error: BaseException | None = None
        """What was raised, once it is done."""
        self.is_done = False

    def withdraw(self) -> bool:
        """Return whether the call has not begun: then it never will."""
        return _taken(self._to_do) is not None

    async def end(self) -> None:
        """Return when it is done. There is no task of it that somebody who cancels all tasks could find."""
        while not self.is_done:
            # The thread looks for this, in the loop, after it has said that it is done.
            self._heard = self._loop.create_future()
            await self._heard

    def result(self) -> T:
        """Return what was returned, or raise what was raised, once it is done."""
        if self.error is None:
            return self._results[0]
        try:
            raise self.error
        finally:
            # The traceback holds this frame, which must not hold the error.
            del self

    def make(self) -> None:
        """Make the call in this thread, unless it was withdrawn."""
        fn = _taken(self._to_do)
        if fn is None:
            return
        ending = threading.Lock()
        ending.acquire()
        _under_way.add(ending)
        try:
            self._results.append(self._context.run(fn))
        except BaseException as error:  # noqa: BLE001  (for whoever awaits it)
            self.error = error
        finally:
            _under_way.discard(ending)
            ending.release()
        self.is_done = True
        # The traceback of an error holds this frame, which must not hold the error.
        del self

    def tell(self) -> None:
        """From the thread: have the loop notice that it is done."""
        call_soon(self._loop, self._hear)

    def _hear(self) -> None:
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)


def _taken(to_do: list[T]) -> T | None:
    try:
        return to_do.pop()
    except IndexError:
        return None


class CallThreads:
    """Makes the calls of one loop, first come, first served, in up to `most` threads.

    The threads end when nobody holds this any more and what it was given is done. All of it is for the loop's thread.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: SimpleQueue[Call[Any] | None] = SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._unfinished: set[Call[Any]] = set()
        weakref.finalize(self, self._calls.put, None).atexit = False

    def submit(self, call: Call[Any]) -> None:
        """Have a call made.

        Raises:
            RuntimeError: the system has no thread left, or the program is at its end; it is never made.
        """
        # Threads that have made a call before are counted as free the moment that call is done.
        if len(self._threads) < min(self._most, len(self._unfinished) + 1):
            thread = _started(_serve, self._calls, self._threads, self._unfinished)
            # It has done this itself, or will. Without it here the next call might not find that there is one.
            self._threads.add(thread)
        self._unfinished.add(call)
        self._calls.put(call)


def _serve(calls: SimpleQueue[Call[Any] | None], threads: set[threading.Thread], unfinished: set[Call[Any]]) -> None:
    threads.add(threading.current_thread())
    while (call := calls.get()) is not None:
        call.make()
        # First: whom it tells may have the next call.
        unfinished.discard(call)
        call.tell()
        # Nothing of it is held while the next one is waited for.
        del call
    # For the next thread.
    calls.put(None)


def make_in_own_thread(call: Call[Any]) -> None:
    """Have a call made in a thread that does nothing else.

    Raises:
        RuntimeError: the system has no thread left, or the program is at its end; it is never made.
    """
    _started(_make_and_tell, call)


def _make_and_tell(call: Call[Any]) -> None:
    call.make()
    call.tell()
    # The traceback of an error leads to this frame.
    del call


def _started(work: Callable[..., object], *args: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=args, name="inmem-aio", daemon=True)
    if not start_thread(thread):
        raise RuntimeError("the program is at its end: no thread can be started any more")
    return thread
