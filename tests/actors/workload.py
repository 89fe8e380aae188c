"""A workload whose results show the outcome of every piece of work.

Each piece is one transaction over two runs and several primitives, with a number of its own. Afterwards each number
must be in all places or in none, at most once, and in all places if the piece was acknowledged.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from inmem import CommitOutcomeUnknownError, Database, InmemError, RetryPolicy, Transaction
from tests.actors.faulty_disk import FAILSAFE_S

SHARED = "shared"


def piece(txn: Transaction, worker: str, number: int) -> None:
    """Write one number to several primitives of the worker's run and to the shared run."""
    txn.kv.put(f"{number:08}", number)
    txn.events.append("piece", number)
    cell = txn.cells.read("count")
    txn.cells.set("count", 1 if cell is None else cell.value + 1)
    txn.on(SHARED).kv.put(f"{worker}/{number:08}", number)


class Worker:
    """A client that does pieces one after the other and remembers the reported outcome of each."""

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
        """Raise unless the outcomes reported to the worker agree with `db`."""
        numbers = numbers_of(db, self.name)
        assert set(self.acked) <= numbers, f"{self.name}: acknowledged, but lost: {set(self.acked) - numbers}"
        assert not numbers & set(self.refused), f"{self.name}: refused, yet there: {numbers & set(self.refused)}"
        assert numbers <= {*self.acked, *self.unknown}


def numbers_of(db: Database, worker: str) -> set[int]:
    """Return the numbers of the pieces in `db`, after checking that each piece is complete and present once."""
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
    """Raise unless every version up to the newest belongs to a piece: only a suffix may be lost."""
    versions = [
        found.version
        for worker in workers
        for key in db.kv.list(worker)
        if (found := db.get_versioned(worker, key)) is not None
    ]
    assert sorted(versions) == list(range(1, db.version + 1))


def state_of(db: Database) -> dict[tuple[str, int], list[tuple[bytes, Any]]]:
    """Return all entries of the store, with their versions."""
    snapshot = db._client.snapshot()
    return {(run, int(tag)): list(table.range()) for run, tag, table in snapshot.tables() if len(table.keys)}


def until(condition: Callable[[], bool], otherwise: str) -> None:
    """Return as soon as the condition holds; fail with the message `otherwise` if it never does."""
    deadline_s = time.monotonic() + FAILSAFE_S
    while not condition():
        assert time.monotonic() < deadline_s, otherwise
        # Releases the GIL without waiting.
        time.sleep(0)


def in_parallel(*works: Callable[[], Any]) -> None:
    """Run each function in its own thread; raise the first exception, and fail if a thread hangs."""
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
