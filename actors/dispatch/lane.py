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
    """Gives each item to `handle`, one at a time and in order, in a daemon thread that starts with the first one.

    Nothing ends the thread but `close`. An item stays in the queue until it has been handled, so an exception that
    somebody raises in the thread from outside, wherever it strikes, loses neither that item nor any behind it.

    Args:
        name: of the thread.
        handle: must not raise.
        fail: given the item that an exception from outside has cut short, or struck just before or after, and the
            exception. Called again if it is cut short itself.

    Attributes:
        handling: held by whoever handles an item.
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
        # First, as it can fail: then nothing has been queued.
        has_thread = self._closed or self._worker.thread is not None or self._worker.start()
        self._queue.append((item,))
        self._worker.wake()
        if self._closed:
            self._drain()
        elif not has_thread:
            self._work_here()

    def borrow(self) -> bool:
        """Reserve the lane for one item that the calling thread is going to handle itself, unless it has work to do.

        Returns whether it is reserved. `handle_borrowed` has to follow, the release of `handling`, and `given_back`.
        """
        if self._queue:
            return False
        # Whatever strikes finds it noted, by the caller too: nothing does while a function returns.
        (is_reserved,) = map(self.handling.acquire, AT_ONCE)
        return is_reserved

    def handle_borrowed(self, item: ItemT) -> None:
        """Handle the item for which the lane was reserved; what has been queued meanwhile comes after it.

        After an exception from outside `fail_borrowed` has to follow instead, in whatever thread.
        """
        ident = get_ident()
        try:
            handler_threads.add(ident)
            self._handle(item)
        finally:
            handler_threads.discard(ident)

    def given_back(self) -> None:
        """See to it that somebody handles what has been queued while the lane was reserved."""
        if self._queue and self._worker.thread is None:
            self._work_here()

    def fail_borrowed(self, item: ItemT, error: BaseException) -> None:
        """Pass on that the item for which the lane was reserved was cut short, or never begun."""
        self._fail(item, error)
        self.handling.release()

    def depth(self) -> int:
        """Count the items in the queue."""
        return len(self._queue)

    def end(self) -> None:
        """End the thread once the queue is empty, and do not wait for that."""
        self._queue.append(None)
        self._worker.wake()

    def close(self) -> None:
        """End the thread once the queue is empty, and wait for that unless this is the thread."""
        self.end()
        self._worker.join()

    def _work_here(self) -> None:
        """Handle in this thread what is in the queue; whoever is handling an item already gets to the others."""
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
                # Whoever was answered may have gone, and left the answer, a lease for example, to nobody but this.
                del item
            else:
                wait()
        handler_threads.discard(get_ident())
        # Whoever had found this lane before it was closed may put an item now. It looks at the flag afterwards, so one
        # of us sees the other.
        self._drain()

    def _cut_short(self, error: BaseException) -> None:
        item = self._current
        # Otherwise it struck between two items.
        if item is not None and self._queue and self._queue[0] is item:
            self._fail(item[0], error)
            # Should the next one strike before this, it is for the same item.
            self._queue.popleft()
        self._current = None

    def _drain(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                item = self._queue.popleft()
                if item is not None:
                    self._handle(*item)
