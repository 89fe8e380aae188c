"""A thread of the store's own, which ends when its work is done and not before."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

from inmem.actors.dispatch.reentrancy import own_threads
from inmem.actors.dispatch.taking import holding
from inmem.actors.dispatch.threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS: Final = 8
"""Depth of nested exception handlers: each catches one exception that comes while the thread recovers from another.
Code that raises exceptions in a thread until it is dead may well hit that moment twice in a row, but not so often."""


class Worker:
    """Runs `work` in a daemon thread that starts when it is first needed and ends when `work` returns.

    Nothing else ends the thread: if other code raises an exception in it, at whatever point, `work` is called again. So
    `work` must leave each item where it found it until the item is done. To bring the thread a new item, put it where
    `work` looks, call `wake`, and, if `thread` is None, `start`.

    Args:
        name: the name of the thread.
        work: calls `wait` when it finds nothing to do, and looks again afterwards.
        cut_short: called with the exception that interrupted `work`, before `work` is called again.

    Attributes:
        thread: the thread that runs `work`; None before the start.
        wait: for `work`: returns when there may be something new, or after `timeout` seconds.
    """

    __slots__ = ("_cut_short", "_error", "_name", "_nothing_new", "_starting", "_work", "_working", "thread", "wait")

    def __init__(self, name: str, work: Callable[[], object], cut_short: Callable[[BaseException], object]) -> None:
        self._name = name
        self._work = work
        self._cut_short = cut_short
        self._error: BaseException | None = None
        # Locked while there is nothing that the thread has not seen; `wake` unlocks it.
        self._nothing_new = threading.Lock()
        self._nothing_new.acquire()
        self.wait = self._nothing_new.acquire
        # Reentrant: a signal handler or a finalizer may run in the thread that holds it, and find no thread here yet.
        self._starting = threading.RLock()
        # If two threads are started, the one that works holds this for ever, and the other one ends.
        self._working = threading.Lock()
        self.thread: threading.Thread | None = None

    def wake(self) -> None:
        """Have the thread look for something new. May be called from any thread."""
        if self._nothing_new.locked():
            # Another thread may have released it since the check: the worker is awake, which is the aim.
            with contextlib.suppress(RuntimeError):
                self._nothing_new.release()

    def start(self) -> bool:
        """Start the thread; return whether it has started: at the end of the program it may not.

        Raises:
            RuntimeError: the system has no thread left.
        """
        return holding(self._starting, self._start_once)

    def _start_once(self) -> bool:
        if self.thread is None:
            thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
            if not start_thread(thread):
                return False
            # Set only now: a program's own signal handler may raise at any line here, or bring an item itself, and then
            # a second thread is started. One of the two finds `_working` taken.
            if self.thread is None:
                self.thread = thread
        return True

    def join(self) -> None:
        """Wait for the end of the thread, unless called in it."""
        thread = self.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _loop(self) -> None:
        if not self._working.acquire(blocking=False):
            return
        self.thread = threading.current_thread()
        own_threads.add(threading.get_ident())
        self._go_on(LEVELS)
        # These most likely refer to this worker's owner. Break the cycle, so that none of it waits for the collector.
        del self._work, self._cut_short
        own_threads.discard(threading.get_ident())

    def _go_on(self, levels: int) -> None:
        while True:
            try:
                if levels:
                    self._go_on(levels - 1)
                else:
                    if self._error is not None:
                        self._pass_on_error()
                    self._work()
            except BaseException as error:  # noqa: BLE001  (raised in this thread by somebody who meant to end it)
                # Do no more than this here: another exception is caught one level above.
                self._error = error
            else:
                return

    def _pass_on_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            self._cut_short(error)
