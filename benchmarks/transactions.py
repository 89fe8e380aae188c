"""Transactions: read-modify-write in each durability mode, contention, begin, validation, conflict rate."""

from __future__ import annotations

import random
from itertools import count
from typing import TYPE_CHECKING, Any

import inmem
from benchmarks.contender import RUN, Doing, Inmem, increments, key_name, one_counter
from benchmarks.measure import Figure, Result, Settings, Subject, Target, contest, rate, timed
from benchmarks.peers import BareFile, CrowdedFile, DiskCache, Lmdb, Sqlite, Zodb
from inmem.engine.commits.part import Part, Slice
from inmem.engine.commits.shard import Prepared, Shard
from inmem.engine.tables.entry import stored_entry
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

AGENTS = 8


def _interval(settings: Settings) -> Result:
    stores = (Inmem(), Inmem(dispatcher="threads"), Sqlite("NORMAL"), Lmdb(sync=False), DiskCache())
    return contest(settings, [Doing(store, increments) for store in stores])


def _always(settings: Settings) -> Result:
    stores = (
        Inmem("always"),
        Inmem("always", dispatcher="threads"),
        Sqlite("FULL"),
        Lmdb(sync=True),
        Zodb(),
        BareFile(),
    )
    return contest(settings, [Doing(store, increments) for store in stores])


def _always_16_threads(settings: Settings) -> Result:
    stores = (
        Inmem("always"),
        Inmem("always", dispatcher="threads"),
        Sqlite("FULL"),
        Lmdb(sync=True),
        Zodb(),
        CrowdedFile(),
    )
    return contest(settings, [Doing(store, increments) for store in stores], clients=16)


def _counter(settings: Settings) -> Result:
    """Measure four threads on one counter, and check that no update is lost."""
    done = count()
    calls = 0

    def counted(session: Any, client: int, keys: int) -> Callable[[], object]:
        increment = one_counter(session, client, keys)

        def work() -> None:
            increment()
            next(done)

        return work

    class Checked(Inmem):
        def close(self) -> None:
            nonlocal calls
            calls = next(done)
            lost = calls - self.get(key_name(0))
            assert lost == 0, f"{lost} updates were lost"
            super().close()

    contenders = [Doing(Checked(), counted), Doing(Sqlite("NORMAL"), one_counter), Doing(Lmdb(sync=False), one_counter)]
    result = contest(settings, contenders, clients=4)
    result.notes.append(f"no update lost among {calls:,}")
    return result


def _begin(settings: Settings) -> Result:
    result = Result()
    batch = 2000
    names = {"1,000 keys": 1000, "many keys": settings.pick(1_000_000, 100_000)}
    stores: dict[str, Inmem] = {}
    for name, keys in names.items():
        stores[name] = Inmem("never")
        stores[name].open(settings.folder / f"begin-{keys}")
        stores[name].load(keys, 0)
    for name in names:
        result.figures.append(Figure(name, "µs", []))
    for _ in range(settings.rounds * 3):
        for figure in result.figures:
            db = stores[figure.name].db
            begun: list[Any] = []
            seconds = timed(lambda db=db, begun=begun: begun.extend(db.begin(RUN) for _ in range(batch)))
            figure.rounds.append(seconds / batch * 1e6)
            for txn in begun:
                txn.abort()
    for store in stores.values():
        store.close()
    result.notes.append(f"many keys: {names['many keys']:,}")
    return result


def _validation(settings: Settings) -> Result:
    """Measure only step 2 of the commit protocol: 100 reads and 20 writes are judged and reserved, then released.

    The most expensive case: the table has changed since the snapshot, so each key is judged; and other transactions are
    prepared before and after, so the written keys are looked up and reserved one by one. The cheapest case: there are
    no other transactions.
    """
    keys = [key_name(number).encode() for number in range(10_000)]
    table = Table.build(dict.fromkeys(keys, stored_entry(1, b"\x00", 0)))
    changed, before, after, *chosen = random.Random(0).sample(keys, 103)
    reads = tuple((key, table.stored(key)) for key in chosen)

    def part(number: int, start_version: int, written: list[bytes], reads: Any = ()) -> Part:
        writes = tuple((key, b"\x01", 0) for key in written)
        return Part(number, start_version, (Slice((RUN, 1), reads, (), (), (), writes),), (), judges_drops=True)

    judged = part(1, 1, chosen[:20], reads)
    alone = Shard(persistent({(RUN, 1): table}), first_version=1)
    among_others = Shard(persistent({(RUN, 1): table.apply(((changed, b"\x01", 0),), 2)}), first_version=2)
    among_others.prepare(part(2, 2, [before]))
    next_one = part(3, 2, [after])

    def validate_among_others() -> None:
        assert isinstance(among_others.prepare(judged), Prepared)
        among_others.prepare(next_one)
        among_others.release(1)
        among_others.release(3)

    def validate_alone() -> None:
        assert isinstance(alone.prepare(judged), Prepared)
        alone.release(1)

    figures: list[Figure] = []
    for name, validate in {"among others": validate_among_others, "alone": validate_alone}.items():
        rounds = [1e6 / rate([validate], settings.seconds / 2) for _ in range(settings.rounds)]
        figures.append(Figure(name, "µs", rounds))
    return Result(figures)


def _conflicts(settings: Settings) -> Result:
    """Measure eight agents with 19 of 20 transactions on their own keys and one on 100 shared keys."""
    result = Result([Figure("inmem always", "% refused", []), Figure("inmem interval", "% refused", [])])
    for figure in result.figures:
        for attempt in range(settings.rounds):
            store = Inmem(figure.name.split()[1])
            store.open(settings.folder / f"{figure.name}-{attempt}")
            store.load(AGENTS * 100 + 100, 0)
            rate([_agent(store, agent) for agent in range(AGENTS)], settings.seconds / 2)
            figure.rounds.append(store.db.stats().conflict_rate * 100)
            store.close()
    return result


def _agent(store: Inmem, agent: int) -> Callable[[], object]:
    choose = random.Random(agent)
    shared = AGENTS * 100

    def work() -> object:
        first = shared if choose.random() < 0.05 else agent * 100
        return store.increment(key_name(first + choose.randrange(100)))

    return work


def _overhead(settings: Settings) -> Result:
    """Measure the same increment without files: the cost of actors and transactions without the log."""
    db = inmem.open(":memory:")
    db.put(RUN, "key", 0)
    figure = Figure("inmem in memory", "/s", [])

    def work() -> object:
        return db.transaction(RUN, lambda txn: txn.put("key", txn.get("key") + 1))

    for _ in range(settings.rounds):
        figure.rounds.append(rate([work], settings.seconds))
    db.close()
    return Result([figure])


SUBJECTS = (
    Subject(
        "rmw-interval",
        "read-modify-write, 1 client, interval",
        _interval,
        (Target("inmem interval", at_least=30_000), Target("inmem interval", at_least=1.3, per="sqlite NORMAL")),
    ),
    Subject(
        "rmw-always",
        "read-modify-write, 1 client, always",
        _always,
        (
            Target("inmem always", at_least=1.1, per="sqlite FULL"),
            Target("inmem always", at_least=0.6, per="write + fdatasync"),
        ),
    ),
    Subject(
        "rmw-always-16",
        "read-modify-write on disjoint keys, 16 threads, always",
        _always_16_threads,
        (
            Target("inmem always", at_least=8, per="sqlite FULL"),
            Target("inmem always", at_least=5, per="lmdb sync"),
        ),
    ),
    Subject("rmw-memory", "read-modify-write, 1 client, no files", _overhead),
    Subject(
        "counter",
        "4 threads on one counter, interval",
        _counter,
        (Target("inmem interval", at_least=10_000),),
    ),
    Subject(
        "begin",
        "begin of a transaction",
        _begin,
        (Target("many keys", at_most=10), Target("many keys", at_most=1.2, per="1,000 keys")),
    ),
    Subject("validation", "validation of 100 reads and 20 writes", _validation, (Target("among others", at_most=100),)),
    Subject(
        "conflicts",
        "conflict rate, 8 agents on mostly disjoint keys",
        _conflicts,
        (Target("inmem always", at_most=5), Target("inmem interval", at_most=5)),
    ),
)
