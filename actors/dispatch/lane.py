"""A queue and the thread that empties it."""

from __future__ import annotations

import contextlib
import threading
from _thread import get_ident
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from inmem.actors.dispatch import interrupts
from inmem.actors.dispatch.reentrancy import handler_threads
from inmem.actors.dispatch.taking import AT_ONCE
from inmem.actors.dispatch.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

ItemT = TypeVar("ItemT")


class Lane(Generic[ItemT]):
    """Passes each item to `handle`, one at a time and in order, in a daemon thread that starts with the first item.

    Only `end` and `close` end the thread. An item stays in the queue until it has been handled, so an exception that
    other code raises in the thread, at whatever point, loses neither that item nor any behind it.

    Args:
        name: the name of the thread.
        handle: must not raise.
        fail: called with an item and the exception from outside that interrupted it, or came just before or after it.
            Called again if it is interrupted itself.

    Attributes:
        handling: held by the thread that handles an item.
    """

    def __init__(
        self, name: str, handle: Callable[[ItemT], object], fail: Callable[[ItemT, BaseException], object]
    ) -> None:
        self._handle = handle
        self._fail = fail
        self._queue: deque[tuple[ItemT] | None] = deque()
        self._current: tuple[ItemT] | None = None
        self._closed = False
        self.handling = threading.Lock()
        self._worker = Worker(name, self._empty, self._cut_short)

    @interrupts.uninterrupted
    def put(self, item: ItemT) -> None:
        """Queue an item for the thread."""
        # First, because it can fail: then nothing has been queued.
        has_thread = self._closed or self._worker.thread is not None or self._worker.start()
        self._queue.append((item,))
        self._worker.wake()
        if self._closed:
            self._drain()
        elif not has_thread:
            self._work_here()

    def borrow(self) -> bool:
        """Reserve the lane for one item that the calling thread will handle itself, unless the lane has work to do.

        Returns whether it is reserved. Then `handle_borrowed`, the release of `handling`, and `given_back` must follow.
        """
        if self._queue:
            return False
        # Noted before any exception from outside (taking.py), by the caller, too: none comes while a function returns.
        (is_reserved,) = map(self.handling.acquire, AT_ONCE)
        return is_reserved

    def handle_borrowed(self, item: ItemT) -> None:
        """Handle the item for which the lane was reserved; items queued since then come after it.

        After an exception from outside, `fail_borrowed` must follow instead, in any thread.
        """
        ident = get_ident()
        try:
            handler_threads.add(ident)
            self._handle(item)
        finally:
            handler_threads.discard(ident)

    def given_back(self) -> None:
        """Make sure that some thread handles the items queued while the lane was reserved."""
        if self._queue and self._worker.thread is None:
            self._work_here()

    def fail_borrowed(self, item: ItemT, error: BaseException) -> None:
        """Report that the item for which the lane was reserved was interrupted, or never begun."""
        self._fail(item, error)
        self.handling.release()

    def depth(self) -> int:
        """Count the items in the queue."""
        return len(self._queue)

    def end(self) -> None:
        """End the thread once the queue is empty, without waiting for it."""
        self._queue.append(None)
        self._worker.wake()

    def close(self) -> None:
        """End the thread once the queue is empty, and wait for that unless called in it."""
        self.end()
        self._worker.join()

    def _work_here(self) -> None:
        """Handle the queue in this thread; a thread that is handling an item already gets to the others."""
        while self._queue and self.handling.acquire(blocking=False):
            try:
                item = self._queue.popleft()
                if item is not None:
                    self._handle(*item)
            finally:
                self.handling.release()

    def _empty(self) -> None:
        handler_threads.add(get_ident())
        queue = self._queue
        handle = self._handle
        handling = self.handling
        wait = self._worker.wait
        while not self._closed:
            while queue:
                item = self._current = queue[0]
                if item is None:
                    self._closed = True
                    break
                with handling:
                    handle(*item)
                    queue.popleft()
                self._current = None
                # The thread that was answered may be gone, which leaves the answer, a lease for example, to this alone.
                del item
            else:
                wait()
        handler_threads.discard(get_ident())
        # A thread that found this lane before it was closed may put an item now. It looks at the flag after that, so
        # either it or this thread drains the item.
        self._drain()

    def _cut_short(self, error: BaseException) -> None:
        item = self._current
        # Otherwise the exception came between two items.
        if item is not None and self._queue and self._queue[0] is item:
            self._fail(item[0], error)
            # If another exception comes before this line, it is for the same item.
            self._queue.popleft()
        self._current = None

    def _drain(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                item = self._queue.popleft()
                if item is not None:
                    self._handle(*item)
