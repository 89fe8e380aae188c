"""How much work an operation is, in calls of Python functions: it must not grow with the store, nor unnoticed.

The bounds are what was counted when they were set, plus about a tenth: raise one only on purpose, and say why.
"""

import pytest

import inmem
from inmem import Thought
from inmem.engine.tables.key_index import KeyIndex
from inmem.engine.tables.key_order import WAITING_MAX
from tests.guards.counting import calls_by_name, calls_of, store_of

SMALL, LARGE = 1000, 20_000

BOUNDS = {
    "get": 10,
    "get_in_transaction": 8,
    # Among them: whether a signal handler could strike here, and whether the store is still open.
    "begin": 54,
    "put": 117,
    "read_modify_write": 113,
    "append": 140,
    "cross_primitive": 221,
}


def operations(db: inmem.Database):
    """Each of the operations whose work is bounded, on keys that exist."""
    txn = db.begin("r")
    txn.get("key-000001")

    def increment(txn):
        txn.put("key-000500", txn.get("key-000500") + 1)

    def step(txn):
        txn.kv.put("key-000500", 1)
        txn.events.append("tool_call", {"tool": "search"})
        txn.cells.set("phase", "next")
        txn.traces.record_with_options(Thought("look"), tags=("plan",))

    return {
        "get": lambda: db.get("r", "key-000500"),
        "get_in_transaction": lambda: txn.get("key-000500"),
        "begin": lambda: db.begin("r"),
        "put": lambda: db.put("r", "key-000500", 1),
        "read_modify_write": lambda: db.transaction("r", increment),
        "append": lambda: db.events.append("r", "tool_call", {"tool": "search"}),
        "cross_primitive": lambda: db.transaction("r", step),
    }


def counted(keys: int) -> dict[str, int]:
    with store_of(keys) as db:
        counts = {}
        for name, work in operations(db).items():
            work()
            counts[name] = calls_of(work)
    return counts


@pytest.fixture(scope="module")
def counts():
    return {keys: counted(keys) for keys in (SMALL, LARGE)}


@pytest.mark.parametrize("name", BOUNDS)
def test_work_is_the_same_at_any_size(counts, name):
    assert counts[SMALL][name] == counts[LARGE][name]


@pytest.mark.parametrize("name", BOUNDS)
def test_work_is_within_its_bound(counts, name):
    assert counts[LARGE][name] <= BOUNDS[name]


def test_begin_looks_at_no_table():
    with store_of(SMALL) as db:
        calls = calls_by_name(lambda: db.begin("r"))
    assert not {"table", "tables", "build", "apply", "range", "chunks"} & set(calls)


def test_a_new_key_costs_a_path_and_not_a_table():
    """A full chunk is split, and the one branch above it is built anew; the larger store has one level more."""

    def calls_to_insert(keys):
        with store_of(keys) as db:
            db.put("r", "key-000500-new", 1)
            # Until somebody wants the order, the key waits.
            return calls_of(lambda: db.kv.list("r", prefix="key-000500"))

    assert calls_to_insert(SMALL) > calls_of_list_without_news() + 10
    assert calls_to_insert(LARGE) - calls_to_insert(SMALL) <= KeyIndex.chunk_max + 16


def calls_of_list_without_news():
    with store_of(SMALL) as db:
        return calls_of(lambda: db.kv.list("r", prefix="key-000500"))


def test_a_crowd_of_new_keys_costs_less_than_each_alone():
    """Together they go into the index, as soon as there are more than may wait."""
    with store_of(LARGE) as db:

        def insert():
            for number in range(WAITING_MAX + 1):
                db.put("r", f"key-{number:06}-new", 1)

        def replace():
            for number in range(WAITING_MAX + 1):
                db.put("r", f"key-{number:06}", 1)

        assert calls_of(insert) - calls_of(replace) <= 8 * (WAITING_MAX + 1)


def test_a_page_costs_what_it_holds_wherever_it_lies():
    def calls_to_list(keys, after):
        with store_of(keys) as db:
            return calls_of(lambda: db.kv.list("r", limit=10, after=after))

    assert abs(calls_to_list(LARGE, "key-019000") - calls_to_list(SMALL, "key-000500")) <= 12


def test_validation_looks_at_each_key_once_and_at_no_other():
    """No Python call per key that was read, whether the table has changed meanwhile or not."""

    def calls_to_commit(keys_read, others):
        with store_of(SMALL) as db:
            txn = db.begin("r")
            for number in range(keys_read):
                txn.get(f"key-{number:06}")
            txn.put("key-000000", 1)
            for number in range(others):
                db.put("r", f"key-{number + 500:06}", 1)
            return calls_of(txn.commit)

    assert calls_to_commit(100, others=0) == calls_to_commit(1, others=0)
    assert calls_to_commit(100, others=1) == calls_to_commit(1, others=1) > calls_to_commit(1, others=0)


def test_a_deletion_costs_the_same_beside_any_number_of_compare_and_swaps():
    def calls_to_delete(swapped):
        with inmem.open(":memory:") as db:
            txn = db.begin("r")
            for number in range(swapped):
                txn.cas(str(number), 0, 1)
            txn.put("k", 1)
            return calls_of(lambda: txn.delete("k"))

    assert calls_to_delete(1_000) == calls_to_delete(1)


def test_a_watcher_reads_no_commit_to_a_run_that_it_does_not_watch():
    with inmem.open(":memory:") as db:
        for number in range(50):
            db.kv.put("other", "k", number)
        watcher = db.watch(run="watched", after_version=0, timeout=0)
        assert calls_by_name(lambda: list(watcher))["decode_commit"] == 0
        everything = db.watch(after_version=0, timeout=0)
        assert calls_by_name(lambda: list(everything))["decode_commit"] == 50
