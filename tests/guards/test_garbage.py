"""Nothing that an operation leaves behind waits for the garbage collector: its pauses grow with what it has to find."""

import gc

import pytest

import inmem
from inmem import Thought

WORK = {
    "put": lambda db: db.put("r", "k", 1),
    "append": lambda db: db.events.append("r", "step", {"n": 1}),
    "cell": lambda db: db.cells.set("r", "c", 1),
    "record": lambda db: db.traces.record("r", Thought("so")),
    "transaction": lambda db: db.transaction("r", lambda txn: txn.put("k", (txn.get("k") or 0) + 1)),
}


@pytest.mark.parametrize("name", WORK)
def test_an_operation_leaves_no_cycle(name):
    with inmem.open(":memory:") as db:
        WORK[name](db)
        gc.collect()
        gc.disable()
        try:
            gc.set_debug(gc.DEBUG_SAVEALL)
            WORK[name](db)
            gc.collect()
            left = [type(found).__name__ for found in gc.garbage if type(found).__module__.startswith("inmem.")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert left == []
