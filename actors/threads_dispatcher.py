"""One thread for each actor, as pykka's own actors have."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from inmem.actors import interrupts
from inmem.actors.future import ReplyFuture
from inmem.actors.timers import Timers

if TYPE_CHECKING:
    from inmem.actors.mailbox import Mailbox, ReplyTo


class ThreadLane:
    """One mailbox's queue and the daemon thread that empties it. The thread starts with the first message."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._queue: SimpleQueue[tuple[Any, ReplyTo | None] | None] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    @interrupts.uninterrupted
    def put(self, message: Any, reply_to: ReplyTo | None) -> None:
        """Queue a message for the thread."""
        self._queue.put((message, reply_to))
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    name = f"inmem-{self._mailbox.name}"
                    self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
                    self._thread.start()

    def depth(self) -> int:
        """Count the messages in the queue."""
        return self._queue.qsize() + len(self._mailbox.stash)

    def close(self) -> None:
        """End the thread once the queue is empty, and wait for that unless this is the thread."""
        self._queue.put(None)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _loop(self) -> None:
        mailbox = self._mailbox
        queue = self._queue
        while True:
            item = queue.get()
            if item is None:
                return
            mailbox.deliver(*item)


class ThreadsDispatcher:
    """A lane for every mailbox."""

    def __init__(self) -> None:
        self._lanes: dict[Mailbox, ThreadLane] = {}
        self._timers = Timers()

    def future(self) -> ReplyFuture[Any]:
        """Return an empty future; waiting for it blocks the thread."""
        return ReplyFuture()

    def post(self, mailbox: Mailbox, message: Any, reply_to: ReplyTo | None) -> None:
        """Queue a message for the mailbox's thread."""
        lane = self._lanes.get(mailbox)
        if lane is None:
            lane = self._lanes.setdefault(mailbox, ThreadLane(mailbox))
        lane.put(message, reply_to)
        if interrupts.pending:
            interrupts.raise_pending()

    def post_and_run(self, mailbox: Mailbox, message: Any, future: ReplyFuture[Any]) -> None:
        """Queue a message for the mailbox's thread."""
        self.post(mailbox, message, future)

    def post_later(self, delay_s: float, mailbox: Mailbox, message: Any, *, idle: bool = False) -> None:  # noqa: ARG002
        """Queue a message later, from the timer thread."""
        self._timers.call_later(delay_s, lambda: self.post(mailbox, message, None))

    def wait(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Block until the reply is there."""
        future.block(timeout_s)

    def sleep(self, delay_s: float) -> None:
        """Pause the calling thread."""
        time.sleep(delay_s)

    def depth(self, mailbox: Mailbox) -> int:
        """Count the messages waiting for this mailbox."""
        lane = self._lanes.get(mailbox)
        return 0 if lane is None else lane.depth()

    def close(self, mailbox: Mailbox) -> None:
        """End the thread of a retired mailbox."""
        lane = self._lanes.pop(mailbox, None)
        if lane is not None:
            lane.close()

    def shut_down(self) -> None:
        """Stop the timers."""
        self._timers.stop()
