"""Nothing that an operation leaves behind waits for the garbage collector: its pauses grow with what it has to find."""

import gc
import os
import threading
import weakref

import pytest

import inmem
from inmem import Thought
from inmem.actors import supervisor
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
        if thread.name.startswith("inmem-"):
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


class Node:
    """Something of the application's that refers to itself."""

    def __init__(self):
        self.itself = self


@pytest.fixture
def nothing_frozen():
    """What tests/conftest.py has frozen is thawed as long as the test lasts."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture
def two_large_stores(nothing_frozen, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "FREEZE_KEYS_MIN", 0)
    paths = tmp_path / "a", tmp_path / "b"
    for path in paths:
        with inmem.open(path) as db:
            db.put("run", "k", 1)
    return paths


def test_what_the_application_drops_is_collected_once_no_large_store_is_open(two_large_stores):
    nodes = [Node(), Node()]
    alive = [weakref.ref(node) for node in nodes]
    first, second = map(inmem.open, two_large_stores)
    nodes.clear()
    first.close()
    gc.collect()
    assert None not in [ref() for ref in alive]
    second.close()
    gc.collect()
    assert [ref() for ref in alive] == [None, None]
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("when", ["before", "meanwhile", "between"])
def test_what_the_application_has_frozen_itself_stays_frozen(two_large_stores, when):
    first, second = two_large_stores
    node = Node()
    try:
        if when == "before":
            gc.freeze()
        with inmem.open(first):
            if when != "before":
                node = Node()
                gc.freeze()
            if when == "between":
                inmem.open(second).close()
        assert node not in gc.get_objects()
    finally:
        gc.unfreeze()


def test_a_forked_child_owes_nothing_to_the_stores_of_its_parent(two_large_stores):
    with inmem.open(two_large_stores[0]):
        child = os.fork()
        if child == 0:
            gc.unfreeze()
            with inmem.open(two_large_stores[1]):
                is_frozen = gc.get_freeze_count() > 0
            os._exit(0 if is_frozen and gc.get_freeze_count() == 0 else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_a_large_store_freezes_nothing_where_garbage_is_collected_by_hand(two_large_stores):
    gc.disable()
    try:
        with inmem.open(two_large_stores[0]):
            assert gc.get_freeze_count() == 0
    finally:
        gc.enable()
