"""Reads of single keys, outside a transaction and inside one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contender import RUN, Doing, Inmem, gets, own_keys
from benchmarks.measure import Result, Settings, Subject, Target, contest
from benchmarks.peers import DiskCache, Lmdb, LmdbSnapshot, Sqlite, Zodb

if TYPE_CHECKING:
    from collections.abc import Callable


def _implicit(settings: Settings) -> Result:
    stores = (Inmem("never", name="inmem"), Sqlite("NORMAL"), Lmdb(sync=False), LmdbSnapshot(), Zodb(), DiskCache())
    return contest(settings, [Doing(store, gets) for store in stores])


def _in_transaction(settings: Settings) -> Result:
    return contest(settings, [Doing(Inmem("never", name="inmem"), _gets_in_transaction)])


def _gets_in_transaction(store: Inmem, client: int, _: int) -> Callable[[], object]:
    get = store.db.begin(RUN).get
    keys = own_keys(client)
    return lambda: get(next(keys))


SUBJECTS = (
    Subject(
        "get",
        "implicit get",
        _implicit,
        (
            Target("inmem", at_least=500_000),
            Target("inmem", at_least=3, per="sqlite NORMAL"),
            Target("inmem", at_least=0.6, per="lmdb no sync"),
        ),
    ),
    Subject("get-in-transaction", "get inside a transaction", _in_transaction, (Target("inmem", at_least=1_000_000),)),
)
