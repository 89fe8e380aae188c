"""InmemStore: LangGraph's long-term memory on an inmem database."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from langgraph.store.base import BaseStore, TTLConfig

import inmem
from inmem.aio.offload import run_in_thread
from inmem.integrations.langgraph.items import Items, checked_ttl
from inmem.integrations.work import Bindable, Work

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langgraph.store.base import Op, Result


class InmemStore(Bindable, BaseStore):
    """Keeps items that graphs share across threads; each batch is one transaction.

    Items are in the KVStore of one run, tagged "langgraph-store", under `langgraph-store/`. A search returns them in
    the order of namespace and key; its `query` and every `index` are ignored, as there are no embeddings. An item's
    time to live is exact: from its deadline on, the item is absent everywhere. Reading an item that has a deadline
    extends it, which is a commit, unless `refresh_ttl=False` is given or `refresh_on_read` is configured as False.

    Args:
        db: an open database, which the caller closes.
        run: the run that holds the items. Two stores with different runs share nothing.
        ttl: `default_ttl` in minutes and `refresh_on_read`; inmem's reaper makes the other entries unnecessary.
            Kept as `ttl_config`.

    Raises:
        InvalidKeyError: `run` is not the id of a run.
        UsageError: `db` is not an `inmem.Database`, or `ttl` is not a valid configuration; the error names the entry.
    """

    supports_ttl = True
    """Tells LangGraph that this store supports a time to live."""

    def __init__(self, db: inmem.Database, *, run: str = "langgraph-store", ttl: TTLConfig | None = None) -> None:
        self._work = Work(db)
        self._run = inmem.Key.run(run).run_id
        self.ttl_config = _checked_config(ttl)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations in one transaction and return their results, in order.

        Reads see the state before the batch. If several puts have the same key, the last one wins.

        Raises:
            InvalidNamespaceError: a label is empty, is not a str, or contains a period, or a namespace is a str;
                nothing was changed.
            InvalidKeyError: a key is not a str, or is too long together with its labels; nothing was changed.
            InvalidValueError: a value cannot be stored; nothing was changed.
            UsageError: a filter is not a dict of names and known operators, a time to live is not a positive number of
                minutes, or a limit, offset or depth is not an int of at least 0; nothing was changed.
        """
        wanted = list(ops)
        return self._work.do(self._run, lambda txn: Items(txn, self._run).apply(wanted))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """See `batch`."""
        return await run_in_thread(self.batch, ops)


def _checked_config(ttl: object) -> TTLConfig | None:
    """Return the time-to-live configuration unchanged if it is valid.

    Raises:
        UsageError: it is not a dict, or an entry is unknown or invalid; the error names the entry.
    """
    if ttl is None:
        return None
    if not isinstance(ttl, dict):
        raise inmem.UsageError(f'ttl: must be a dict such as {{"default_ttl": minutes}}, or None, not {ttl!r}')
    config = cast("TTLConfig", ttl)
    for name in config:
        if name not in TTLConfig.__annotations__:
            raise inmem.UsageError(f"ttl: must hold only {', '.join(TTLConfig.__annotations__)}, not {name!r}")
    checked_ttl(config.get("default_ttl"), 'ttl["default_ttl"]')
    refresh: object = config.get("refresh_on_read", True)
    if type(refresh) is not bool:
        raise inmem.UsageError(f'ttl["refresh_on_read"]: must be True or False, not {refresh!r}')
    return config
