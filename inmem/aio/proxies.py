"""The five primitives for coroutines. Each behaves like the plain proxy of the same name, which documents it."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from inmem.actors.proxies import cells, events, kv, runs, traces
from inmem.aio.method import at_once, in_thread, requested

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from inmem.actors.proxies.kv import RunId
    from inmem.aio.client import AsyncClient
    from inmem.primitives.cells import State
    from inmem.primitives.events import Event

BATCH_SIZE: Final = 100
"""Events that `EventLog.iter` decodes before it yields to the loop: less than a millisecond."""


def _shown(self: Any) -> str:
    return repr(self.plain).replace("<inmem.", "<inmem.aio.", 1)


class KVStore:
    """Named values of a run; see `inmem.KVStore`."""

    def __init__(self, client: AsyncClient) -> None:
        self.plain = kv.KVStore(client)

    __repr__ = _shown

    if not TYPE_CHECKING:
        # Type checkers should report any unknown attribute.
        def __getattr__(self, name: str) -> Any:
            if name == "mapping":
                raise AttributeError(
                    "a KVStore of inmem.aio has no 'mapping', as a dict cannot be awaited: use its coroutines, or"
                    " `db.plain.kv.mapping(run)` in a thread",
                    name=name,
                    obj=self,
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    put = requested(kv.KVStore.put)
    get = at_once(kv.KVStore.get)
    get_versioned = at_once(kv.KVStore.get_versioned)
    get_many = at_once(kv.KVStore.get_many)
    exists = at_once(kv.KVStore.exists)
    list = at_once(kv.KVStore.list)
    list_with_values = at_once(kv.KVStore.list_with_values)
    delete = requested(kv.KVStore.delete)
    cas = requested(kv.KVStore.cas)


class EventLog:
    """The events of a run, in order and chained by hashes; see `inmem.EventLog`."""

    def __init__(self, client: AsyncClient) -> None:
        self.plain = events.EventLog(client)

    __repr__ = _shown

    append = requested(events.EventLog.append)
    append_many = requested(events.EventLog.append_many)
    read = at_once(events.EventLog.read)
    read_range = at_once(events.EventLog.read_range)
    head = at_once(events.EventLog.head)
    tail = at_once(events.EventLog.tail)
    len = at_once(events.EventLog.len)
    read_by_type = at_once(events.EventLog.read_by_type)
    types = at_once(events.EventLog.types)
    verify_chain = in_thread(events.EventLog.verify_chain)

    def iter(self, run: RunId, start: int = 0, *, batch_size: int = BATCH_SIZE) -> AsyncIterator[Event]:
        """Iterate over the events present now; yield to the loop after each `batch_size` of them.

        See `inmem.EventLog.iter`; an invalid argument raises at the call.
        """
        return _in_batches(self.plain.iter(run, start, batch_size=batch_size), batch_size)


class StateCell:
    """The named states of a run, changed by compare-and-swap; see `inmem.StateCell`."""

    def __init__(self, client: AsyncClient) -> None:
        self.plain = cells.StateCell(client)
        self._client = client

    __repr__ = _shown

    init = requested(cells.StateCell.init)
    read = at_once(cells.StateCell.read)
    cas = requested(cells.StateCell.cas)
    set = requested(cells.StateCell.set)
    delete = requested(cells.StateCell.delete)
    exists = at_once(cells.StateCell.exists)
    list = at_once(cells.StateCell.list)

    async def transition(self, run: RunId, name: str, fn: Callable[[State], tuple[Any, Any]]) -> Any:
        """Call `fn` with the cell's state, store the new value it returns, and return its second result.

        `fn` runs in the loop, possibly several times. See `inmem.StateCell.transition`.
        """
        return await self._client.run_transaction(run, cells.sealed_transition(name, fn))

    async def transition_or_init(
        self, run: RunId, name: str, initial: object, fn: Callable[[State], tuple[Any, Any]]
    ) -> Any:
        """Do `init` with `initial` if the cell does not exist, then `transition`, both in one commit."""
        return await self._client.run_transaction(run, cells.sealed_transition_or_init(name, initial, fn))


class TraceStore:
    """The steps of an agent's reasoning, as a forest; see `inmem.TraceStore`."""

    def __init__(self, client: AsyncClient) -> None:
        self.plain = traces.TraceStore(client)

    __repr__ = _shown

    record = requested(traces.TraceStore.record)
    record_child = requested(traces.TraceStore.record_child)
    record_with_options = requested(traces.TraceStore.record_with_options)
    get = at_once(traces.TraceStore.get)
    query_by_type = at_once(traces.TraceStore.query_by_type)
    query_by_tag = at_once(traces.TraceStore.query_by_tag)
    query_by_time = at_once(traces.TraceStore.query_by_time)
    get_children = at_once(traces.TraceStore.get_children)
    get_tree = at_once(traces.TraceStore.get_tree)
    roots = at_once(traces.TraceStore.roots)
    list = at_once(traces.TraceStore.list)
    count = at_once(traces.TraceStore.count)


class RunIndex:
    """The runs, their statuses and their parents; see `inmem.RunIndex`."""

    def __init__(self, client: AsyncClient) -> None:
        self.plain = runs.RunIndex(client)

    __repr__ = _shown

    create_run = requested(runs.RunIndex.create_run)
    get_run = at_once(runs.RunIndex.get_run)
    update_status = requested(runs.RunIndex.update_status)
    complete_run = requested(runs.RunIndex.complete_run)
    fail_run = requested(runs.RunIndex.fail_run)
    cancel_run = requested(runs.RunIndex.cancel_run)
    pause_run = requested(runs.RunIndex.pause_run)
    resume_run = requested(runs.RunIndex.resume_run)
    archive_run = requested(runs.RunIndex.archive_run)
    delete_run = requested(runs.RunIndex.delete_run)
    add_tags = requested(runs.RunIndex.add_tags)
    remove_tags = requested(runs.RunIndex.remove_tags)
    update_metadata = requested(runs.RunIndex.update_metadata)
    query_runs = at_once(runs.RunIndex.query_runs)
    list_runs = at_once(runs.RunIndex.list_runs)
    get_child_runs = at_once(runs.RunIndex.get_child_runs)
    get_stats = at_once(runs.RunIndex.get_stats)


async def _in_batches(found: Iterator[Event], batch_size: int) -> AsyncIterator[Event]:
    while batch := [*islice(found, batch_size)]:
        for event in batch:
            yield event
        await asyncio.sleep(0)
