"""`db.watch()`: the change feed as an iterator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.client.transaction_arguments import checked_timeout
from inmem.actors.watch_cursor import WatchCursor
from inmem.engine.errors import UsageError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from inmem.actors.client.client import Client
    from inmem.actors.dispatch.future import ReplyFuture
    from inmem.actors.proxies.kv import RunId
    from inmem.primitives.change import Change, PrimitiveName


class Watcher:
    """Everything that is committed, or a part of it, in commit order, without gap or repetition.

    Iterating waits for the next change. The iteration ends when the store has been closed and everything before that
    was handed out, when `close` was called, or when no change has come for as long as the timeout says; after a timeout
    it can be taken up again where it ended. For one thread at a time: another one is refused meanwhile, as each may
    have a watcher of its own. `close` may be called from any.

    Attributes:
        version: everything of interest up to this version has been handed out: where to begin again, in this process
            or a later one, by `after_version`. Inside a commit of several changes it is still the one before.
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
        # Of the call that is at it, under one key: taking it is one step to other threads.
        self._claim: dict[str, object] = {}

    @property
    def version(self) -> int:
        """See above."""
        return self._cursor.version

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        """Return the next change, and wait for it if need be.

        Raises:
            WatchLaggedError: the watcher is too far behind; `.version` says where it stands.
            WatchGapError: a refresh has found another history in the folder.
            ForkedProcessError: this is a forked child.
            UsageError: another thread is at it.
        """
        own = object()
        # No lock: Ctrl-C between its acquisition and what follows would leave it taken.
        try:
            if self._claim.setdefault("is", own) is not own:
                # The two would move one cursor, and a change would go to whoever looks first.
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
                # Asked before looking: what was committed before the end is handed out before the end.
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
        """End the iteration, also for a thread that is waiting in it."""
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
