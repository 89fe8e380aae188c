"""`db.watch()`: the change feed as an iterator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.client.transaction_arguments import checked_timeout
from inmem.actors.watch_cursor import WatchCursor
from inmem.engine.errors import UsageError
from inmem.engine.noncopyable import NonCopyable

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from inmem.actors.client.client import Client
    from inmem.actors.dispatch.future import ReplyFuture
    from inmem.actors.proxies.kv import RunId
    from inmem.primitives.change import Change, PrimitiveName


class Watcher(NonCopyable):
    """An iterator over committed changes, all or a selection, in commit order, without gaps or repetition.

    Iterating waits for the next change. The iteration ends when the store has been closed and every change before that
    has been returned, when `close` is called, or when no change arrives within the timeout. After a timeout, iterating
    again continues where it stopped. Only one thread may iterate at a time, and a second one gets UsageError: give each
    thread its own watcher. Any thread may call `close`.

    Attributes:
        version: every matching change up to this version has been returned. Pass it as `after_version` to continue
            from here, in this process or a later one. Between the changes of one commit it is the version before.
    """

    def __init__(
        self,
        client: Client,
        run: RunId | None,
        primitive: PrimitiveName | None,
        after_version: int | None,
        timeout: float | None,
    ) -> None:
        client.snapshot()
        self._client = client
        self._timeout_s = checked_timeout(timeout)
        self._cursor = WatchCursor.open(client.published, run, primitive, after_version)
        self._closed = False
        # The `__next__` call in progress, under a single key: `setdefault` claims it in one step, atomically for
        # other threads.
        self._claim: dict[str, object] = {}

    @property
    def version(self) -> int:
        """The version up to which every matching change has been returned; see the class."""
        return self._cursor.version

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        """Return the next change, waiting for it if necessary.

        Raises:
            WatchLaggedError: the watcher is too far behind; `.version` is where it stands.
            WatchGapError: a refresh found another history in the folder.
            ForkedProcessError: this process is a forked child.
            UsageError: another thread is iterating.
        """
        own = object()
        # Not a lock: Ctrl-C between acquiring it and entering the `try` would leave it locked.
        try:
            if self._claim.setdefault("is", own) is not own:
                # Both threads would move the same cursor, and each change would reach only one of them.
                raise UsageError("this watcher is being iterated by another thread: each needs a watcher of its own")
            return self._next()
        finally:
            if self._claim.get("is") is own:
                self._claim.clear()

    def _next(self) -> Change:
        client = self._client
        cursor = self._cursor
        deadline_s = None if self._timeout_s is None else client.monotonic_s() + self._timeout_s
        bell: ReplyFuture[None] | None = None
        try:
            while True:
                # Checked before reading the feed, so that changes committed before the end are still returned.
                is_over = client.is_over()
                if self._closed:
                    raise StopIteration
                change = cursor.next(client.published.feed)
                if change is not None:
                    return change
                if not cursor.at_end:
                    continue
                if is_over:
                    raise StopIteration
                if bell is None:
                    bell = client.directory.dispatcher.future()
                    client.published.feed.wait(bell)
                    continue
                remaining_s = None if deadline_s is None else deadline_s - client.monotonic_s()
                if remaining_s is not None and remaining_s <= 0:
                    raise StopIteration
                client.directory.dispatcher.idle(bell, remaining_s)
                if bell.done:
                    bell = None
        finally:
            if bell is not None:
                client.published.feed.forget(bell)

    def close(self) -> None:
        """End the iteration, even for a thread that is waiting in it."""
        self._closed = True
        self._client.published.feed.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<inmem.Watcher at version {self.version}{', closed' if self._closed else ''}>"
