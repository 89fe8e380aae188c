"""The database handle for coroutines."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar, overload

from inmem.actors.client.transaction_arguments import DEFAULT_RETRY
from inmem.actors.dispatch.taking import holding
from inmem.actors.messages.core import Checkpoint, Flush
from inmem.actors.messages.transactions import ReadStats
from inmem.aio.client import AsyncClient
from inmem.aio.method import in_thread
from inmem.aio.offload import finish_in_thread, look_in_thread
from inmem.aio.pending import Pending
from inmem.aio.proxies import EventLog, KVStore, RunIndex, StateCell, TraceStore
from inmem.aio.watcher import Watcher
from inmem.database import Database as PlainDatabase
from inmem.engine.errors import InmemError
from inmem.engine.noncopyable import NonCopyable
from inmem.stats import stats_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import TracebackType
    from typing import Self
    from uuid import UUID

    from inmem.actors.messages.transactions import CoordinatorStats
    from inmem.aio.transaction import Transaction
    from inmem.engine.commits.retry import RetryPolicy
    from inmem.engine.commits.transaction import IsolationName
    from inmem.primitives.change import PrimitiveName
    from inmem.primitives.kv import VersionedValue
    from inmem.stats import Stats

T = TypeVar("T")


class Database(NonCopyable):
    """A handle on a running store for coroutines: `inmem.Database` with every call that waits as a coroutine.

    Use it from any number of tasks and event loops, in any number of threads. A loop's thread never runs actors and
    never waits for the disk or for another thread.

    When an await ends, the awaited operation has ended: see `docs/asyncio.md` for cancellation.

    Closing a handle from `inmem.aio.open` stops the store; closing one from `inmem.aio.connect` leaves it running.

    Args:
        plain: the plain handle, owned by this one. The constructor starts a thread: do not call it in a loop's thread.

    Attributes:
        plain: the plain handle, for code that runs in a thread.
        kv: the KVStore.
        events: the EventLog.
        cells: the StateCells.
        traces: the TraceStore.
        runs: the RunIndex.
    """

    def __init__(self, plain: PlainDatabase) -> None:
        self.plain = plain
        self._client = AsyncClient(plain.directory)
        self.kv = KVStore(self._client)
        self.events = EventLog(self._client)
        self.cells = StateCell(self._client)
        self.traces = TraceStore(self._client)
        self.runs = RunIndex(self._client)
        self._closing = threading.Lock()
        self._closers: deque[Future[None]] = deque()
        self._client.start()

    # Single operations: each is a transaction of its own.

    async def put(self, run: str | UUID, key: str, value: object, ttl: float | None = None) -> int:
        """Set a key and return the commit version. The same as `db.kv.put`."""
        return await self.kv.put(run, key, value, ttl)

    async def get(self, run: str | UUID, key: str) -> Any:
        """Return a fresh copy of the newest committed value, or None. The same as `db.kv.get`."""
        return await self.kv.get(run, key)

    async def get_versioned(self, run: str | UUID, key: str) -> VersionedValue | None:
        """Return the newest committed value with its version and deadline, or None."""
        return await self.kv.get_versioned(run, key)

    async def delete(self, run: str | UUID, key: str) -> bool:
        """Delete a key and return whether it existed. The same as `db.kv.delete`."""
        return await self.kv.delete(run, key)

    async def cas(
        self, run: str | UUID, key: str, expected_version: int, value: object, ttl: float | None = None
    ) -> int:
        """Set a key if its version is `expected_version`; return the commit version. The same as `db.kv.cas`."""
        return await self.kv.cas(run, key, expected_version, value, ttl)

    async def begin_run(
        self,
        run_id: str | UUID | None = None,
        *,
        parent: str | UUID | None = None,
        tags: Iterable[str] = (),
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Register a run and return its id, a new one by default. See `db.runs.create_run`."""
        return (await self.runs.create_run(run_id, parent=parent, tags=tags, metadata=metadata)).run_id

    async def end_run(self, run: str | UUID) -> None:
        """Mark a run as completed, once. See `db.runs.complete_run`.

        Raises:
            InvalidStatusTransitionError: the run is not Active, for example because it has ended already.
        """
        await self.runs.complete_run(run)

    # Transactions.

    def begin(
        self, run: str | UUID, *, isolation: IsolationName = "snapshot", timeout: float | None = None
    ) -> Pending[Transaction]:
        """Begin a transaction: ``async with db.begin(run) as txn``, or ``txn = await db.begin(run)``.

        Inside the transaction nothing waits, and only `txn.commit()` is awaited. For the arguments see
        `inmem.Database.begin`. Each transaction needs its own `begin`. Its timeout runs from the moment the `begin` is
        awaited or entered.

        Raises:
            UsageError: the result is awaited or entered a second time.
            TransactionTimeoutError: the result is awaited or entered, and the store does not answer in time.
        """
        return Pending("begin", lambda: self._client.begin_transaction(run, isolation=isolation, timeout=timeout), self)

    @overload
    async def transaction(
        self,
        run: str | UUID,
        fn: Callable[[Transaction], Awaitable[T]],
        *,
        isolation: IsolationName = ...,
        retry: RetryPolicy = ...,
        timeout: float | None = ...,
    ) -> T: ...

    @overload
    async def transaction(
        self,
        run: str | UUID,
        fn: Callable[[Transaction], T],
        *,
        isolation: IsolationName = ...,
        retry: RetryPolicy = ...,
        timeout: float | None = ...,
    ) -> T: ...

    async def transaction(
        self,
        run: str | UUID,
        fn: Callable[[Transaction], Any],
        *,
        isolation: IsolationName = "snapshot",
        retry: RetryPolicy = DEFAULT_RETRY,
        timeout: float | None = None,
    ) -> Any:
        """Run `fn(txn)` in the loop, commit, and return what `fn` returned.

        `fn` may be a plain or an async function. After a conflict it runs again on a new snapshot.

        When this call ends, the transaction has ended: it has committed completely or not at all, even if the task is
        cancelled or runs into `asyncio.timeout`. The `status` of the transaction passed to `fn` tells which.

        Raises:
            RetriesExhaustedError: the last attempt also conflicted; `.conflicts` lists its conflicts.
            TransactionTimeoutError: the timeout expired; nothing was committed.
            TransactionAbortedError: the store restarted or an actor failed during the last attempt too; nothing was
                committed, and the caller may try again.
            UsageError: an argument is invalid, or the transaction wrote or read too much; nothing was committed.
            InmemError: any other error that `Transaction.commit` raises.
        """
        return await self._client.run_transaction(run, fn, isolation=isolation, retry=retry, timeout=timeout)

    outcome = in_thread(PlainDatabase.outcome)

    # The store as a whole.

    @property
    def version(self) -> int:
        """The version of the newest commit. Does not wait."""
        return self._client.snapshot().version

    @property
    def path(self) -> str:
        """The database's folder, or ":memory:"."""
        return self._client.directory.path

    def watch(
        self,
        run: str | UUID | None = None,
        primitive: PrimitiveName | None = None,
        after_version: int | None = None,
        *,
        timeout: float | None = None,
    ) -> Watcher:
        """Follow commits: ``async for change in db.watch()``. See `inmem.Database.watch`."""
        return Watcher(self._client, run, primitive, after_version, timeout)

    async def flush(self) -> None:
        """Return when every commit so far is durable, whatever the durability mode."""
        await self._client.wait_for(self._client.directory.writer, Flush())

    async def checkpoint(self) -> int:
        """Write the state to a checkpoint, remove the log before it, and return the checkpoint's version."""
        version: int = await self._client.wait_for(self._client.directory.writer, Checkpoint())
        return version

    async def stats(self) -> Stats:
        """Return counters and the state of queues and transactions, after all requests this loop sent earlier."""
        counted: CoordinatorStats = await self._client.wait_for(self._client.directory.coordinator, ReadStats())
        return await look_in_thread(stats_of, self._client, counted)

    recover = in_thread(PlainDatabase.recover)
    refresh = in_thread(PlainDatabase.refresh)
    unregistered_runs = in_thread(PlainDatabase.unregistered_runs)
    verify = in_thread(PlainDatabase.verify)
    export_run = in_thread(PlainDatabase.export_run)
    import_run = in_thread(PlainDatabase.import_run)

    async def close(self) -> None:
        """Finish the operations in progress, make them durable and stop the store; do nothing if it is closed.

        A task that calls `close` while another task is closing waits for that close and gets the same error. A handle
        from `inmem.aio.connect` only becomes unusable; the store keeps running.

        Raises:
            StorageError: commits acknowledged under a weaker durability mode could not be made durable.
        """
        if not self._client.is_disowned:
            await finish_in_thread(self._close_for, self._new_closer())

    def close_plain(self) -> None:
        """Do the same as `close`, but block this thread."""
        self._close_for(self._new_closer())

    def _new_closer(self) -> Future[None]:
        """Register a call of `close` now: another call may answer it before its own thread starts."""
        self._client.close()
        closer: Future[None] = Future()
        self._closers.append(closer)
        return closer

    def _close_for(self, closer: Future[None]) -> None:
        """Close, unless another call has answered `closer` already, and answer every closer registered by now."""

        def close_once() -> None:
            if not closer.done():
                error = self._close()
                while self._closers:
                    _answer(self._closers.popleft(), error)

        holding(self._closing, close_once)
        closer.result()

    def _close(self) -> Exception | None:
        try:
            self.plain.close()
        except Exception as error:  # noqa: BLE001  (for everybody who closes)
            return error
        finally:
            self._client.end_watching()
            self._client.stop()
        return None

    async def __aenter__(self) -> Self:
        self._client.require_store()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<inmem.aio.Database {self.path!r}{self._client.state}>"


def _answer(closer: Future[None], error: Exception | None) -> None:
    if error is None:
        closer.set_result(None)
    else:
        closer.set_exception(error.anew() if isinstance(error, InmemError) else error)
