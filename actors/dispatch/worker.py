"""A thread of the store's own, which ends when its work does and not before."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

from inmem.actors.dispatch.reentrancy import own_threads
from inmem.actors.dispatch.threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS: Final = 8
"""A thread outlives one exception in the moment in which it goes on after another. Whoever raises one after the other
until a thread is dead may well hit that moment twice in a row, but not so often."""


class Worker:
    """Has `work` done in a daemon thread that starts when it is first needed, and ends when `work` returns.

    Nothing else ends it: should somebody raise an exception in the thread from outside, wherever it strikes, `work` is
    called again. So `work` leaves each thing where it has found it until that is done. Whoever has something new for it
    puts that where `work` looks, and calls `wake` and, if there is no `thread`, `start`.

    Args:
        name: of the thread.
        work: calls `wait` when it finds nothing to do, and looks again afterwards.
        cut_short: is given what has cut `work` short, before that is called again.

    Attributes:
        thread: the one that works; None before the start.
        wait: for `work`: returns when there may be something new, or after `timeout` seconds.
    """

    __slots__ = ("_cut_short", "_error", "_name", "_nothing_new", "_starting", "_work", "_working", "thread", "wait")

    def __init__(self, name: str, work: Callable[[], object], cut_short: Callable[[BaseException], object]) -> None:
        self._name = name
        self._work = work
        self._cut_short = cut_short
        self._error: BaseException | None = None
        # Locked while there is nothing that the thread has not seen; whoever brings something unlocks it.
        self._nothing_new = threading.Lock()
        self._nothing_new.acquire()
        self.wait = self._nothing_new.acquire
        # A signal handler or a finalizer may run in the thread that holds it, and find no thread here yet.
        self._starting = threading.RLock()
        # Held for ever by the one thread that works, should two have been started.
        self._working = threading.Lock()
        self.thread: threading.Thread | None = None

    def wake(self) -> None:
        """Have the thread look for something new. For any thread."""
        if self._nothing_new.locked():
            # Somebody may have been quicker, between the look and the call: the thread is awake, which is the aim.
            with contextlib.suppress(RuntimeError):
                self._nothing_new.release()

    def start(self) -> bool:
        """Start the thread; return whether it could be, as at the end of the program it may not be any more.

        Raises:
            RuntimeError: the system has no thread left.
        """
        with self._starting:
            if self.thread is None:
                thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
                if not start_thread(thread):
                    return False
                # Not before: a program's own signal handler may raise in any line of this, or bring something itself,
                # and then another thread is started. Of two, one finds that the other is there.
                if self.thread is None:
                    self.thread = thread
        return True

    def join(self) -> None:
        """Wait for the end of the thread, unless this is it."""
        thread = self.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _loop(self) -> None:
        if not self._working.acquire(blocking=False):
            return
        self.thread = threading.current_thread()
        own_threads.add(threading.get_ident())
        self._go_on(LEVELS)
        # Most likely they hold what holds this: now nothing of it has to wait for the collector.
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
                # No more than this is done here: the next one is caught one level above.
                self._error = error
            else:
                return

    def _pass_on_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            self._cut_short(error)
