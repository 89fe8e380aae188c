"""`db.watch()` for coroutines: the change feed as an async iterator."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from inmem.actors.client.transaction_arguments import checked_timeout
from inmem.actors.watch_cursor import WatchCursor
from inmem.aio.port import call_soon
from inmem.engine.noncopyable import NonCopyable

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from inmem.actors.proxies.kv import RunId
    from inmem.aio.client import AsyncClient
    from inmem.primitives.change import Change, PrimitiveName

CHANGES_IN_A_ROW: Final = 100
"""Changes handed out in a row before the watcher yields to the loop."""


class Bell:
    """A one-shot event that the feed sets from any thread and one loop waits for."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung: asyncio.Future[None] = self._loop.create_future()

    def set(self, value: Any = None) -> None:  # noqa: ARG002  (a reply address)
        """Ring the bell, from any thread."""
        call_soon(self._loop, self.ring)

    def set_exception(self, exc_info: Any = None) -> None:
        """Ring the bell, from any thread."""
        self.set(exc_info)

    def ring(self) -> None:
        """Ring the bell, from its loop's thread."""
        if not self._rung.done():
            self._rung.set_result(None)

    async def rings(self, timeout_s: float | None) -> bool:
        """Wait up to `timeout_s` seconds for the bell; return whether it has rung."""
        await asyncio.wait([self._rung], timeout=timeout_s)
        return self._rung.done()


class Watcher(NonCopyable):
    """All changes, or a selection of them, in commit order; see `inmem.Watcher`. For one task at a time.

    A cancelled wait loses nothing: the next wait continues at the same place. While one task waits, any other task is
    refused; give each task its own watcher, which costs little.
    """

    def __init__(
        self,
        client: AsyncClient,
        run: RunId | None,
        primitive: PrimitiveName | None,
        after_version: int | None,
        timeout: float | None,
    ) -> None:
        client.snapshot()
        self._client = client
        self._timeout_s = checked_timeout(timeout)
        self._cursor = WatchCursor.open(client.published, run, primitive, after_version)
        self._bell: Bell | None = None
        self._closed = False
        self._in_use = False
        self._in_a_row = 0

    @property
    def version(self) -> int:
        """The version up to which all selected changes have been handed out: see `inmem.Watcher`."""
        return self._cursor.version

    def __aiter__(self) -> Self:
        return self

    if not TYPE_CHECKING:
        # Hidden from type checkers, which then reject a plain `for`.
        def __iter__(self) -> Any:
            raise TypeError("a watcher of inmem.aio takes `async for`, not `for`")

    async def __anext__(self) -> Change:
        """Return the next change; wait for it if necessary.

        Raises:
            WatchLaggedError: the watcher is too far behind; `.version` tells how far it has come.
            WatchGapError: a refresh has found another history in the folder.
            RuntimeError: another task is iterating over this watcher.
        """
        if self._in_use:
            # The same error as for async generators. Two tasks would share one bell, and only one would be woken.
            raise RuntimeError("this watcher is being iterated by another task: each needs a watcher of its own")
        self._in_use = True
        try:
            return await self._next()
        finally:
            self._in_use = False

    async def _next(self) -> Change:
        client = self._client
        cursor = self._cursor
        if self._in_a_row >= CHANGES_IN_A_ROW:
            self._in_a_row = 0
            await asyncio.sleep(0)
        deadline_s = None if self._timeout_s is None else client.monotonic_s() + self._timeout_s
        try:
            while True:
                # Read before looking for a change: commits made before the end are handed out before it.
                is_over = client.is_over()
                if self._closed:
                    raise StopAsyncIteration
                change = cursor.next(client.published.feed)
                if change is not None:
                    self._in_a_row += 1
                    return change
                if not cursor.at_end:
                    await asyncio.sleep(0)
                elif is_over:
                    raise StopAsyncIteration
                elif self._bell is None:
                    self._bell = Bell()
                    client.published.feed.wait(self._bell)
                else:
                    remaining_s = None if deadline_s is None else max(0.0, deadline_s - client.monotonic_s())
                    self._in_a_row = 0
                    if not await self._bell.rings(remaining_s):
                        raise StopAsyncIteration
                    self._bell = None
        finally:
            if self._bell is not None:
                client.published.feed.forget(self._bell)
                self._bell = None

    def close(self) -> None:
        """End the iteration, even for a waiting task. Does not wait. Call it in the loop's thread."""
        self._closed = True
        if self._bell is not None:
            self._bell.ring()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<inmem.aio.Watcher at version {self.version}{', closed' if self._closed else ''}>"
