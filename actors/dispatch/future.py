"""The future behind every `ask`: pykka's contract, without a condition variable for each reply."""

from __future__ import annotations

import os
import queue
import sys
import threading
from _thread import LockType, allocate_lock
from typing import Any, Final, Protocol, TypeVar

import pykka

from inmem.actors.dispatch import interrupts
from inmem.actors.dispatch.taking import holding

T = TypeVar("T")


class Waiting(Protocol):
    """How a thread waits for a reply; each dispatcher has its own way."""

    def wait(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Return when `future` is done or after `timeout_s` seconds, whichever comes first."""
        ...


_arming: Final = threading.RLock()
"""Held while a future gets its baton: two threads that begin to wait for it must share one. Reentrant, because a signal
handler or a finalizer may run in the same thread meanwhile, and wait for a future of its own."""
os.register_at_fork(before=_arming.acquire, after_in_parent=_arming.release, after_in_child=_arming.release)


class ReplyFuture(pykka.Future[T]):
    """A reply that has arrived or will. Set once, read as often as wanted, by any thread.

    Args:
        waiting: the dispatcher that delivers the reply; without one, a waiting thread simply blocks.
    """

    __slots__ = ("_waiting", "baton", "done", "error", "value")

    # pykka.Future's own fields, set on the class for futures without a hook, because every `ask` makes a future.
    _get_hook = None
    _get_hook_result: Any = None

    def __init__(self, waiting: Waiting | None = None) -> None:
        self._waiting = waiting
        self.value: Any = None
        """The reply, once it has arrived."""
        self.error: Any = None
        """The `exc_info` triple, if the reply is an exception."""
        self.baton: LockType | None = None
        """Locked by threads that block here, or are about to; releasing it wakes one of them."""
        self.done = False
        """Whether `get` would return, or raise, at once."""

    def get(self, *, timeout: float | None = None) -> T:
        """Return the reply, or raise the exception that is the reply.

        Args:
            timeout: seconds to wait; None waits for as long as it takes.

        Raises:
            pykka.Timeout: no reply in time. The request is still being handled.
        """
        if self._get_hook is not None:
            if not self.done:
                self.value = self._get_hook(timeout)
                self.done = True
            return self.value  # type: ignore[no-any-return]
        if not self.done:
            if self._waiting is not None:
                self._waiting.wait(self, timeout)
            else:
                self.block(timeout)
            if interrupts.pending:
                interrupts.raise_pending()
            if not self.done:
                raise pykka.Timeout(f"{timeout} seconds")
        if self.error is not None:
            _, error, traceback = self.error
            raise error.with_traceback(traceback)
        return self.value  # type: ignore[no-any-return]

    @interrupts.uninterrupted
    def arm(self) -> None:
        """Make sure that no `nudge` from now on is lost: the next `block`, if there is one, returns at once."""
        holding(_arming, self._make_baton)

    def _make_baton(self) -> None:
        if self.baton is None:
            baton = allocate_lock()
            baton.acquire()
            self.baton = baton

    def block(self, timeout_s: float | None) -> bool:
        """Block this thread until another one sets the reply or calls `nudge`, or until `timeout_s` have passed.

        Returns whether there is a reply.
        """
        if self.baton is None:
            self.arm()
        # An exception that came before this is only noted, and a blocked thread would not look at the note. From here
        # on exceptions are raised.
        if interrupts.pending:
            interrupts.raise_pending()
        # The order matters: `set` sets `done` before it looks for the baton, so one of the two sees the other.
        if not self.done and self.baton is not None:
            try:
                self.baton.acquire(True, -1 if timeout_s is None else max(0.0, timeout_s))
            finally:
                if self.done:
                    # Several threads may wait for one reply; each wakes the next.
                    self.nudge()  # type: ignore[unreachable]
        return self.done

    @interrupts.uninterrupted
    def nudge(self) -> None:
        """Wake a thread that blocks on this future, if one does, without setting a reply."""
        baton = self.baton
        if baton is not None and baton.locked():
            try:
                baton.release()
            except RuntimeError:
                # Another thread released it after the check: a thread is awake, which is the aim.
                return

    def set(self, value: T | None = None) -> None:
        """Make `value` the reply.

        Raises:
            queue.Full: there is a reply already.
        """
        if self.done or self._get_hook is not None:
            # The call that set the reply may have been interrupted before it woke a thread, and this may repeat it.
            self.nudge()
            raise queue.Full
        self.value = value
        self.done = True
        # A thread that gets a baton from here on looks for the value before it blocks.
        if self.baton is not None:
            self.nudge()

    def set_exception(self, exc_info: Any = None) -> None:
        """Make an exception the reply: an `exc_info` triple, or by default the exception being handled.

        Raises:
            queue.Full: there is a reply already.
        """
        if self.done or self._get_hook is not None:
            # The call that set the reply may have been interrupted before it woke a thread, and this may repeat it.
            self.nudge()
            raise queue.Full
        info: Any = exc_info or sys.exc_info()
        error_type, error, traceback = info
        self.error = (error_type, error_type() if error is None else error, traceback)
        self.done = True
        if self.baton is not None:
            self.nudge()

    def set_get_hook(self, func: Any) -> None:
        """Have `func`, called with the timeout, supply the value when it is first asked for."""
        if self.done:
            raise queue.Full
        self._get_hook = func
