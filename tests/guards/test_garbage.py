"""Nothing that an operation leaves behind waits for the garbage collector: its pauses grow with what it has to find."""

import gc
import sys
import threading

import pytest

import inmem
from inmem import Thought
from tests.actors.faulty_disk import FAILSAFE_S

WORK = {
    "put": lambda db: db.put("r", "k", 1),
    "append": lambda db: db.events.append("r", "step", {"n": 1}),
    "cell": lambda db: db.cells.set("r", "c", 1),
    "record": lambda db: db.traces.record("r", Thought("so")),
    "transaction": lambda db: db.transaction("r", lambda txn: txn.put("k", (txn.get("k") or 0) + 1)),
}


@pytest.fixture(autouse=True)
def nothing_of_an_earlier_store():
    """What the last thread of a closed store held becomes garbage when it ends, which nobody waits for."""
    for thread in threading.enumerate():
        # One whose start was interrupted, in another test, may be listed for ever though it never ran.
        if thread.name.startswith("inmem-") and thread.is_alive():
            thread.join(FAILSAFE_S)
            assert not thread.is_alive(), f"{thread.name} has not ended"


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
            left = [type(found).__name__ for found in gc.garbage if type(found).__module__.partition(".")[0] == "inmem"]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert left == []


TABLES = 2_000
KEYS = 5_000


def seen():
    """How many objects the collector has to look at, once it has found out which ones it need not."""
    gc.collect()
    return len(gc.get_objects())


@pytest.fixture
def large(tmp_path):
    """A store with many keys in one table, and many tables with one key each."""
    path = tmp_path / "large"
    with inmem.open(path, durability="never") as db:
        with db.begin("one") as txn:
            for number in range(KEYS):
                txn.put(f"k{number}", number)
        for number in range(TABLES):
            db.put(f"run-{number}", "k", number)
        db.checkpoint()
    return path


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="from 3.14 on, the collector looks at every dict")
def test_the_collector_does_not_look_at_what_was_recovered(large):
    frozen = gc.get_freeze_count()
    with inmem.open(":memory:"):
        before = seen()
    with inmem.open(large) as db:
        assert seen() - before < TABLES // 10
        assert gc.get_freeze_count() <= frozen
        assert db.get("one", "k7") == 7


def test_the_collector_does_not_look_at_keys_that_were_written(large):
    with inmem.open(large) as db:
        before = seen()
        for number in range(KEYS):
            db.put("one", f"k{2 * number}", "written")
        assert seen() - before < 200
