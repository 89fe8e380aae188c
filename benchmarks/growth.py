"""Growth: how rates change with keys, clients, value size, shards and runs."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING, Any

from benchmarks.contender import Doing, Inmem, Store, increments, key_name, own_keys
from benchmarks.measure import Figure, Result, Settings, Subject, contest, rate, steps
from benchmarks.peers import Lmdb, Sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.contender import Session


def _grow(
    settings: Settings,
    axis: str,
    points: Iterable[int],
    contenders: Callable[[int], list[Doing]],
    *,
    clients: Callable[[int], int] = lambda _: 1,
) -> Result:
    result = Result(axis=axis)
    shorter = replace(settings, rounds=max(1, settings.rounds - 2), seconds=settings.seconds / 2)
    for point in points:
        part = contest(shorter, contenders(point), clients=clients(point))
        for figure in part.figures:
            figure.at = point
        result.figures += part.figures
        result.skipped = part.skipped
    return result


def _keys(settings: Settings) -> Result:
    points = steps(settings, 1000, 10_000, 100_000) if settings.quick else (1000, 10_000, 100_000, 1_000_000)

    def contenders(keys: int) -> list[Doing]:
        stores: tuple[Store, ...] = (Inmem(), Sqlite("NORMAL"), Lmdb(sync=False))
        return [Doing(store, _spread_increments, keys) for store in stores]

    return _grow(settings, "keys", points, contenders)


def _spread_increments(session: Session, _: int, keys: int) -> Callable[[], object]:
    """Return work that does a read-modify-write across the table: a stride coprime to `keys` visits every key."""
    state = [0]

    def work() -> object:
        state[0] = (state[0] + 7919) % keys
        return session.increment(key_name(state[0]))

    return work


def _clients(settings: Settings) -> Result:
    points = steps(settings, 1, 2, 4, 8, 16, 32, 64)

    def contenders(_: int) -> list[Doing]:
        stores: tuple[Store, ...] = (Inmem("always"), Sqlite("FULL"), Lmdb(sync=True))
        return [Doing(store, increments) for store in stores]

    return _grow(settings, "clients", points, contenders, clients=lambda point: point)


def _value_size(settings: Settings) -> Result:
    points = steps(settings, 10, 100, 1000, 10_000, 100_000, 1_000_000)

    def contenders(size: int) -> list[Doing]:
        stores: tuple[Store, ...] = (Inmem(), Sqlite("NORMAL"), Lmdb(sync=False))
        value = "v" * size
        keys = 100

        def puts(session: Session, _: int, __: int) -> Callable[[], object]:
            names = cycle([key_name(number) for number in range(keys)])
            return lambda: session.put(next(names), value)

        return [Doing(store, puts, keys, value) for store in stores]

    return _grow(settings, "value bytes", points, contenders)


def _shards(settings: Settings) -> Result:
    """Measure four clients, each on its own runs, so that the work is spread over the shards as evenly as possible."""
    points = steps(settings, 1, 2, 4, 8)

    def contenders(shards: int) -> list[Doing]:
        return [Doing(Inmem(durability, shards=shards), _run_increments, 1) for durability in ("interval", "always")]

    return _grow(settings, "shards", points, contenders, clients=lambda _: 4)


def _run_increments(store: Inmem, client: int, _: int) -> Callable[[], object]:
    db = store.db
    runs = cycle([f"run-{client}-{number}" for number in range(25)])
    names = own_keys(client)
    return lambda: db.transaction(next(runs), lambda txn: txn.put(key := next(names), (txn.get(key) or 0) + 1))


def _runs(settings: Settings) -> Result:
    """Measure the same number of keys, spread over more and more runs."""
    result = Result(axis="runs")
    keys = 10_000
    for runs in steps(settings, 1, 10, 100, 1000, 10_000):
        store = Inmem("interval")
        store.open(settings.folder / f"runs-{runs}")
        for first in range(0, keys, 1000):
            with store.db.begin("run-0") as txn:
                for number in range(first, first + 1000):
                    txn.on(f"run-{number % runs}").kv.put(key_name(number), 0)
        figure = Figure("inmem interval", "/s", [], runs)
        work = _spread_over_runs(store, keys, runs)
        for _ in range(settings.rounds):
            figure.rounds.append(rate([work], settings.seconds / 2))
        store.close()
        result.figures.append(figure)
    return result


def _spread_over_runs(store: Inmem, keys: int, runs: int) -> Callable[[], object]:
    db = store.db
    state = [0]

    def work() -> Any:
        state[0] = number = (state[0] + 7919) % keys
        key = key_name(number)
        return db.transaction(f"run-{number % runs}", lambda txn: txn.put(key, txn.get(key) + 1))

    return work


SUBJECTS = (
    Subject("growth-keys", "read-modify-write against keys, interval", _keys),
    Subject("growth-clients", "read-modify-write against clients, always", _clients),
    Subject("growth-values", "put against value size, interval", _value_size),
    Subject("growth-shards", "read-modify-write against shards, 4 clients", _shards),
    Subject("growth-runs", "read-modify-write against runs, interval", _runs),
)
