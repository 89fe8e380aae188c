"""Daemon threads that make blocking calls for an event loop.

A `concurrent.futures.ThreadPoolExecutor` is not safe here, because a second Ctrl-C raises KeyboardInterrupt anywhere in
the loop's thread. In the middle of `Thread.start`, it comes before the executor has recorded the thread among those
that it wakes when the interpreter exits; the interpreter then waits for that thread for ever. An interrupt can also
leave one of the executor's locks held. So here the loop's thread takes no locks except in `Thread.start`, an interrupt
leaves at most one thread too many, and the interpreter waits for running calls, not for threads.
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
"""One held lock for each running call, and for each that is about to run. Released when the call ends."""

_is_exiting = False
"""True once the interpreter exits. From then on no call begins, because nothing would wait for its end."""


def _finish_calls() -> None:
    """Wait for all running calls, when the interpreter exits."""
    global _is_exiting  # noqa: PLW0603  (the interpreter exits once)
    _is_exiting = True
    # Again and again: a thread that has not seen the flag may still add a call.
    while _under_way:
        for ending in [*_under_way]:
            ending.acquire()


atexit.register(_finish_calls)
# A forked child has none of its parent's threads.
os.register_at_fork(after_in_child=_under_way.clear)


class Call(Generic[T]):
    """One call, awaited in an event loop.

    `make` and `tell` are for the thread that makes the call, everything else is for the loop's thread.

    Args:
        loop: the loop in which the call is awaited.
        fn: the function to call, in a copy of the current context.

    Attributes:
        error: what the call has raised, once it is done.
        is_done: whether it has ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fn: Callable[[], T]) -> None:
        self._loop = loop
        # Whoever takes `fn` out decides: the thread makes the call, or the loop withdraws it.
        self._to_do = [fn]
        self._context = copy_context()
        self._heard: asyncio.Future[None] | None = None
        self._results: list[T] = []
        self.error: BaseException | None = None
        self.is_done = False

    def withdraw(self) -> bool:
        """Withdraw the call and return True, if it has not begun. It is never made then."""
        return _taken(self._to_do) is not None

    async def end(self) -> None:
        """Return when the call has ended. Creates no task that code cancelling all tasks could find."""
        while not self.is_done:
            # `_hear` runs in this loop, after the thread has set `is_done`: it cannot be missed.
            self._heard = self._loop.create_future()
            await self._heard

    def result(self) -> T:
        """Return the result, or raise the error, of a call that has ended."""
        if self.error is None:
            return self._results[0]
        try:
            raise self.error
        finally:
            # The traceback keeps this frame alive, and the frame must not keep the error alive.
            del self

    def make(self) -> None:
        """Make the call in this thread, unless it was withdrawn or the interpreter exits."""
        ending = threading.Lock()
        ending.acquire()
        # Noted before the look at the flag: either this sees the flag, or the exiting thread sees the note.
        _under_way.add(ending)
        try:
            fn = None if _is_exiting else _taken(self._to_do)
            if fn is None:
                return
            self._results.append(self._context.run(fn))
        except BaseException as error:  # noqa: BLE001  (for whoever awaits it)
            self.error = error
        finally:
            _under_way.discard(ending)
            ending.release()
        self.is_done = True
        # The traceback keeps this frame alive, and the frame must not keep the error alive.
        del self

    def tell(self) -> None:
        """Have the loop notice that the call has ended."""
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
    """Makes the calls of one loop, in the order given, in up to `most` threads. Only for the loop's thread.

    Once nothing refers to this object any more, its threads make the calls already submitted and end.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: SimpleQueue[Call[Any] | None] = SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._unfinished: set[Call[Any]] = set()
        weakref.finalize(self, self._calls.put, None).atexit = False

    def submit(self, call: Call[Any]) -> None:
        """Have one of the threads make a call.

        Raises:
            RuntimeError: the system has no thread left, or the interpreter is exiting; the call is never made.
        """
        if len(self._threads) < min(self._most, len(self._unfinished) + 1):
            thread = _started(_serve, self._calls, self._threads, self._unfinished)
            # The thread adds itself too, as an interrupt may come before this line. But it may not have done so yet,
            # and the next call must know of it.
            self._threads.add(thread)
        self._unfinished.add(call)
        self._calls.put(call)


def _serve(calls: SimpleQueue[Call[Any] | None], threads: set[threading.Thread], unfinished: set[Call[Any]]) -> None:
    threads.add(threading.current_thread())
    while (call := calls.get()) is not None:
        call.make()
        # Before `tell`: the task that is told may submit the next call at once.
        unfinished.discard(call)
        call.tell()
        # Keep nothing of it alive while waiting for the next one.
        del call
    # For the next thread to see.
    calls.put(None)


def make_in_own_thread(call: Call[Any]) -> None:
    """Start a thread that makes one call.

    Raises:
        RuntimeError: the system has no thread left, or the interpreter is exiting; the call is never made.
    """
    _started(_make_and_tell, call)


def _make_and_tell(call: Call[Any]) -> None:
    call.make()
    call.tell()
    # The traceback keeps this frame alive, and the frame must not keep the error alive.
    del call


def _started(work: Callable[..., object], *args: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=args, name="inmem-aio", daemon=True)
    if not start_thread(thread):
        raise RuntimeError("the program is at its end: no thread can be started any more")
    return thread
