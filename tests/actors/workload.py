"""Work whose traces tell what became of every piece of it.

Each piece is one transaction over two runs and several primitives, with a number of its own. Afterwards each number
must be everywhere or nowhere, at most once, and everywhere if its worker was told so.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from inmem import CommitOutcomeUnknownError, Database, InmemError, RetryPolicy, Transaction
from tests.actors.faulty_disk import FAILSAFE_S

SHARED = "shared"


def piece(txn: Transaction, worker: str, number: int) -> None:
    """Leave traces of one number in four primitives of the worker's run and in the shared run."""
    txn.kv.put(f"{number:08}", number)
    txn.events.append("piece", number)
    cell = txn.cells.read("count")
    txn.cells.set("count", 1 if cell is None else cell.value + 1)
    txn.on(SHARED).kv.put(f"{worker}/{number:08}", number)


class Worker:
    """Does pieces one after the other and remembers what it was told of each."""

    def __init__(self, db: Database, name: str) -> None:
        self.db = db
        self.name = name
        self.acked: list[int] = []
        self.refused: list[int] = []
        self.unknown: dict[int, str] = {}
        self.errors: list[InmemError] = []
        self._number = 0

    def do(self, pieces: int, retry: RetryPolicy | None = None) -> None:
        for _ in range(pieces):
            number = self._number
            self._number += 1
            try:
                self.db.transaction(
                    self.name, lambda txn, number=number: piece(txn, self.name, number), retry=retry or RetryPolicy()
                )
            except CommitOutcomeUnknownError as error:
                self.unknown[number] = error.token
            except InmemError as error:
                self.refused.append(number)
                self.errors.append(error)
            else:
                self.acked.append(number)

    def check(self, db: Database) -> None:
        """Raise unless what the worker was told is true of `db`."""
        numbers = numbers_of(db, self.name)
        assert set(self.acked) <= numbers, f"{self.name}: acknowledged, but lost: {set(self.acked) - numbers}"
        assert not numbers & set(self.refused), f"{self.name}: refused, yet there: {numbers & set(self.refused)}"
        assert numbers <= {*self.acked, *self.unknown}


def numbers_of(db: Database, worker: str) -> set[int]:
    """Return the numbers of which `db` has traces, after checking that each is whole and there once."""
    keys = [value for _, value in db.kv.list_with_values(worker)]
    events = [event.payload for event in db.events.read_range(worker, 0, db.events.len(worker))]
    shared = [value for _, value in db.kv.list_with_values(SHARED, f"{worker}/")]
    assert keys == shared
    assert sorted(events) == keys, f"{worker}: {len(events)} events for {len(keys)} keys"
    cell = db.cells.read(worker, "count")
    assert (0 if cell is None else cell.value) == len(keys)
    assert db.events.verify_chain(worker).is_valid
    return set(keys)


def check_no_hole(db: Database, workers: list[str]) -> None:
    """Raise unless every version up to the newest is some piece's: what was lost is a suffix."""
    versions = [
        found.version
        for worker in workers
        for key in db.kv.list(worker)
        if (found := db.get_versioned(worker, key)) is not None
    ]
    assert sorted(versions) == list(range(1, db.version + 1))


def state_of(db: Database) -> dict[tuple[str, int], list[tuple[bytes, Any]]]:
    """Return everything that is in the store, versions included."""
    snapshot = db._client.snapshot()
    return {(run, int(tag)): list(table.range()) for run, tag, table in snapshot.tables() if len(table.keys)}


def until(condition: Callable[[], bool], otherwise: str) -> None:
    """Return as soon as the condition holds; fail with what it means that it does not come to hold."""
    deadline_s = time.monotonic() + FAILSAFE_S
    while not condition():
        assert time.monotonic() < deadline_s, otherwise
        # Lets go of the interpreter, and takes no time.
        time.sleep(0)


def in_parallel(*works: Callable[[], Any]) -> None:
    """Run each in a thread of its own; raise the first exception, and complain about whoever hangs."""
    errors: list[BaseException] = []

    def run(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  (raised again below, in the test's own thread)
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(FAILSAFE_S)
    hanging = [thread.name for thread in threads if thread.is_alive()]
    assert not hanging, f"{len(hanging)} of {len(threads)} callers hang"
    if errors:
        raise errors[0]
