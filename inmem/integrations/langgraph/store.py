"""InmemStore: LangGraph's long-term memory on an inmem database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langgraph.store.base import BaseStore

from inmem.aio.offload import run_in_thread
from inmem.integrations.langgraph.items import Items
from inmem.integrations.work import Bindable, Work

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langgraph.store.base import Op, Result, TTLConfig

    import inmem


class InmemStore(Bindable, BaseStore):
    """Keeps items that graphs share across threads; each batch is one transaction.

    Items lie in the KVStore of one run, tagged "langgraph-store", under `langgraph-store/`. A search returns them in
    the order of namespace and key; its `query` and every `index` are ignored, as there are no embeddings. An item's
    time to live is exact: from its deadline on it is absent everywhere. Reading an item that has one puts the
    deadline off, which is a commit, unless `refresh_ttl=False` is given or `refresh_on_read` configured so.

    Args:
        db: an open database, which stays the caller's to close.
        run: the run that holds the items. Two stores with different runs share nothing.
        ttl: `default_ttl` in minutes and `refresh_on_read`; the reaper makes the rest of it superfluous.
            Kept as `ttl_config`.
    """

    supports_ttl = True
    """Tells LangGraph so."""

    def __init__(self, db: inmem.Database, *, run: str = "langgraph-store", ttl: TTLConfig | None = None) -> None:
        self._work = Work(db)
        self._run = run
        self.ttl_config = ttl

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations in one transaction and return their results, in order.

        Reads see the state before the batch. Of several puts to one key the last counts.

        Raises:
            InvalidNamespaceError: a label is empty, not a str, or contains a period; nothing was changed.
            InvalidValueError: a value cannot be stored; nothing was changed.
        """
        wanted = list(ops)
        return self._work.do(self._run, lambda txn: Items(txn, self._run).apply(wanted))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """See `batch`."""
        return await run_in_thread(self.batch, ops)
