"""A queue and the thread that empties it."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from inmem.actors import interrupts

if TYPE_CHECKING:
    from collections.abc import Callable

ItemT = TypeVar("ItemT")


class Lane(Generic[ItemT]):
    """Gives each item to `handle`, one at a time and in order, in a daemon thread that starts with the first one.

    Args:
        name: of the thread.
        handle: must not raise.
    """

    def __init__(self, name: str, handle: Callable[[ItemT], object]) -> None:
        self._name = name
        self._handle = handle
        self._queue: SimpleQueue[tuple[ItemT] | None] = SimpleQueue()
        self._starting = threading.Lock()
        self._emptying = threading.Lock()
        self._handling = threading.Lock()
        self._thread: threading.Thread | None = None

    @interrupts.uninterrupted
    def put(self, item: ItemT) -> None:
        """Queue an item for the thread."""
        self._queue.put((item,))
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
                    thread.start()
                    # Not before: a program's own signal handler may raise in any line of this, and then the next
                    # `put` starts another thread. Of two, one finds that the other is there.
                    self._thread = thread

    def borrow(self) -> bool:
        """Reserve the lane for one item that the calling thread is going to handle itself, unless it has work to do.

        Returns whether it is reserved. `handle_borrowed` has to follow.
        """
        if not self._handling.acquire(blocking=False):
            return False
        if self._queue.empty():
            return True
        self._handling.release()
        return False

    def handle_borrowed(self, item: ItemT) -> None:
        """Handle the item for which the lane was reserved; what has been queued meanwhile comes after it."""
        try:
            self._handle(item)
        finally:
            self._handling.release()

    def depth(self) -> int:
        """Count the items in the queue."""
        return self._queue.qsize()

    def close(self) -> None:
        """End the thread once the queue is empty, and wait for that unless this is the thread."""
        self._queue.put(None)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _loop(self) -> None:
        if not self._emptying.acquire(blocking=False):
            return
        queue = self._queue
        handle = self._handle
        handling = self._handling
        while (item := queue.get()) is not None:
            with handling:
                handle(*item)
