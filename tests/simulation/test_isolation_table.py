"""Every row of the isolation table, by the name of its anomaly, with T1 committing first.

The two transactions are driven step by step; below them the order of messages is the scheduler's, and every case runs
under many schedules and on one shard and on three.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import inmem
from inmem.simulation import Faults, Simulation, explore

OTHER = "other run"
"""On three shards it lies on another one than RUN."""
RUN = "blue"


class Case(NamedTuple):
    """One row.

    `first` and `second` are called in turn with their transactions; `before` prepares the store.
    """

    name: str
    before: Callable[[inmem.Database], Any]
    first: Callable[[inmem.Transaction], Any]
    second: Callable[[inmem.Transaction], Any]
    snapshot: bool
    """Whether T2 commits under snapshot isolation."""
    serializable: bool
    between: Callable[[inmem.Database], Any] = lambda _: None
    """What else is committed after T1 and before T2."""


def nothing(_: Any) -> None:
    """Prepare nothing."""


def put(key, value=1):
    return lambda txn: txn.put(key, value)


def get_then_put(read, written):
    def do(txn):
        txn.get(read)
        txn.put(written, 2)

    return do


def both(txn):
    txn.get("x")
    txn.get("y")


def two(db):
    db.put(RUN, "x", 0)
    db.put(RUN, "y", 0)


def deleted(db):
    db.put(RUN, "x", 0)
    db.delete(RUN, "x")


def scan_then_put(key):
    def do(txn):
        assert [name for name, _ in txn.scan("p/")] == []
        txn.put(key, 1)

    return do


def read_both_then(key):
    def do(txn):
        both(txn)
        txn.put(key, 3)

    return do


CASES = [
    Case("G0: both write blindly", nothing, put("x"), put("x", 2), False, False),
    Case("OTV and G-single: one only reads", two, lambda t: (t.put("x", 1), t.put("y", 1)), both, True, True),
    Case("P4: lost update", two, get_then_put("x", "x"), get_then_put("x", "x"), False, False),
    Case("read x, written meanwhile, write y", two, put("x"), get_then_put("x", "y"), False, False),
    Case("read x, written meanwhile, write nothing", two, put("x"), lambda t: t.get("x"), True, True),
    Case("write skew, crossed", two, get_then_put("x", "y"), get_then_put("y", "x"), False, False),
    Case("write skew, both read both", two, read_both_then("x"), read_both_then("y"), False, False),
    Case("G2: scan, and insert different keys", nothing, scan_then_put("p/1"), scan_then_put("p/2"), True, False),
    Case("scan, insert in the range, write elsewhere", nothing, put("p/1"), scan_then_put("z"), True, False),
    Case("read missing, created meanwhile", nothing, put("x"), get_then_put("x", "y"), False, False),
    Case(
        "read missing, created and deleted meanwhile",
        nothing,
        put("x"),
        get_then_put("x", "y"),
        False,
        False,
        between=lambda db: db.delete(RUN, "x"),
    ),
    Case("read tombstone, created again", deleted, put("x"), get_then_put("x", "y"), False, False),
    Case("the same value is written again", two, put("x", 0), get_then_put("x", "y"), False, False),
    Case("CAS is stale", two, put("x"), lambda t: t.cas("x", 1, 9), False, False),
    Case("CAS(0) on a tombstone", deleted, put("z"), lambda t: t.cas("x", 0, 9), False, False),
]


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("isolation", ["snapshot", "serializable"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_row_of_the_table(case, isolation, shards):
    expected = case.snapshot if isolation == "snapshot" else case.serializable

    def scenario(sim):
        db = sim.open(shards=shards)
        case.before(db)
        outcomes: list[bool] = []

        def drive():
            first = db.begin(RUN, isolation=isolation)
            second = db.begin(RUN, isolation=isolation)
            case.first(first)
            case.second(second)
            # On three shards it makes both commits span two of them.
            first.on(OTHER).kv.put("first", 1)
            first.commit()
            case.between(db)
            if shards > 1 and not case.name.startswith("OTV") and "write nothing" not in case.name:
                second.on(OTHER).kv.put("second", 1)
            try:
                second.commit()
            except inmem.ConflictError:
                outcomes.append(False)
            else:
                outcomes.append(True)

        sim.spawn(drive)
        sim.run()
        assert outcomes == [expected]

    explore(scenario, seeds=6)


def run_both(sim: Simulation, first, second, shards=2):
    db = sim.open(shards=shards)
    db.transaction(RUN, lambda txn: (txn.put("x", 0), txn.on(OTHER).kv.put("y", 0)))
    sim.spawn(first, db)
    sim.spawn(second, db)
    sim.run()
    return db


def test_g1a_an_aborted_write_is_never_read():
    def scenario(sim):
        def aborts(db):
            txn = db.begin(RUN)
            txn.put("x", "aborted")
            sim.pause()
            txn.abort()

        def reads(db):
            for _ in range(3):
                assert db.get(RUN, "x") == 0

        run_both(sim, aborts, reads)

    explore(scenario, seeds=50)


def test_g1b_an_intermediate_write_is_never_read():
    def scenario(sim):
        def writes_twice(db):
            with db.begin(RUN) as txn:
                txn.put("x", "intermediate")
                sim.pause()
                txn.put("x", "final")

        def reads(db):
            for _ in range(3):
                assert db.get(RUN, "x") in (0, "final")

        run_both(sim, writes_twice, reads)

    explore(scenario, seeds=50)


def test_g1c_information_does_not_flow_in_a_circle():
    def scenario(sim):
        seen = {}

        def cross(mine, other):
            def do(db):
                with db.begin(RUN) as txn:
                    txn.on(RUN if mine == "x" else OTHER).kv.put(mine, "new")
                    sim.pause()
                    seen[mine] = txn.on(RUN if other == "x" else OTHER).kv.get(other)

            def safely(db):
                try:
                    do(db)
                except inmem.ConflictError:
                    seen[mine] = None

            return safely

        run_both(sim, cross("x", "y"), cross("y", "x"))
        assert list(seen.values()) != ["new", "new"]

    explore(scenario, seeds=50)


def test_otv_a_commit_on_two_shards_is_never_half_visible():
    def scenario(sim):
        def writes(db):
            for value in (1, 2):
                db.transaction(RUN, lambda txn, value=value: (txn.put("x", value), txn.on(OTHER).kv.put("y", value)))

        def reads(db):
            for _ in range(4):
                with db.begin(RUN) as txn:
                    x = txn.get("x")
                    sim.pause()
                    assert txn.on(OTHER).kv.get("y") == x

        run_both(sim, writes, reads, shards=3)

    explore(scenario, seeds=60)
    explore(scenario, seeds=60, faults=Faults(slow_sync=0.3, clock_jumps=0.1))
