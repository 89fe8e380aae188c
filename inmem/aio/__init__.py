"""The store for asyncio: the same names as in `inmem`, with a coroutine for every call that may wait.

    async with inmem.aio.open("agent.db") as db:
        await db.kv.put(run, "k", 1)

Result types and errors are those of `inmem`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import inmem
from inmem.actors.system import require_may_start
from inmem.aio.database import Database
from inmem.aio.offload import begun_or_nothing, to_the_end
from inmem.aio.pending import Pending
from inmem.aio.proxies import EventLog, KVStore, RunIndex, StateCell, TraceStore
from inmem.aio.transaction import Transaction
from inmem.aio.watcher import Watcher
from inmem.engine.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import pykka

    from inmem.actors.options import DispatcherName
    from inmem.engine.log.group_commit import DurabilityName


def open(  # noqa: A001  (as in inmem itself)
    path: str | os.PathLike[str],
    *,
    durability: DurabilityName = "always",
    sync_interval: float = 0.1,
    shards: int = 1,
    dispatcher: DispatcherName = "caller",
    read_only: bool = False,
    create: bool = True,
    limits: Limits = DEFAULT_LIMITS,
) -> Pending[Database]:
    """Open a database: ``async with inmem.aio.open(path) as db``, or ``db = await inmem.aio.open(path)``.

    Arguments and errors are those of `inmem.open`. Recovery runs in a thread. If the await is cancelled, the database
    is either never opened or closed again before the cancellation proceeds.
    """
    # Checked here because the thread that opens the database never takes part in a simulation.
    require_may_start()

    def make() -> inmem.Database:
        return inmem.open(
            path,
            durability=durability,
            sync_interval=sync_interval,
            shards=shards,
            dispatcher=dispatcher,
            read_only=read_only,
            create=create,
            limits=limits,
        )

    return Pending("open", lambda: _opened(make), path)


def connect(ref: pykka.ActorRef[Any] | inmem.Database) -> Pending[Database]:
    """Return a handle on a store that is already open, given the ref from `inmem.spawn` or another handle.

    ``async with inmem.aio.connect(ref) as db``, or ``db = await inmem.aio.connect(ref)``. Closing the handle leaves
    the store running.

    Raises:
        DatabaseClosedError: the store was closed.
        UsageError: `ref` is neither a store's ref nor a handle.
    """
    return Pending("connect", lambda: _opened(lambda: inmem.connect(ref)), ref)


async def _opened(make: Callable[[], inmem.Database]) -> Database:
    def opened() -> Database:
        plain = make()
        try:
            return Database(plain)
        except BaseException:
            # The courier's thread could not be started. No one else has the plain handle, so close it here.
            plain.close()
            raise

    made, cancelled = await begun_or_nothing(opened)
    if cancelled is None:
        return made.result()
    if made.error is None:
        await to_the_end(made.result().close_plain)
    raise cancelled


__all__ = [
    "Database",
    "EventLog",
    "KVStore",
    "Pending",
    "RunIndex",
    "StateCell",
    "TraceStore",
    "Transaction",
    "Watcher",
    "connect",
    "open",
]
