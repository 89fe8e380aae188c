"""How much work an operation is, in calls of Python functions: it must not grow with the store, nor unnoticed.

The bounds are what was counted when they were set, plus about a tenth: raise one only on purpose, and say why.
"""

import pytest

import inmem
from inmem.engine.key_index import KeyIndex
from tests.guards.counting import calls_by_name, calls_of, store_of

SMALL, LARGE = 1000, 20_000

BOUNDS = {
    "get": 10,
    "get_in_transaction": 8,
    # Among them: whether a signal handler could strike here, and whether the store is still open.
    "begin": 54,
    "put": 125,
    "read_modify_write": 126,
}


def operations(db: inmem.Database):
    """Each of the operations whose work is bounded, on keys that exist."""
    txn = db.begin("r")
    txn.get("key-000001")

    def increment(txn):
        txn.put("key-000500", txn.get("key-000500") + 1)

    return {
        "get": lambda: db.get("r", "key-000500"),
        "get_in_transaction": lambda: txn.get("key-000500"),
        "begin": lambda: db.begin("r"),
        "put": lambda: db.put("r", "key-000500", 1),
        "read_modify_write": lambda: db.transaction("r", increment),
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
            return calls_of(lambda: db.put("r", "key-000500-new", 1))

    assert calls_to_insert(LARGE) - calls_to_insert(SMALL) <= KeyIndex.chunk_max + 16


def test_a_page_costs_what_it_holds_wherever_it_lies():
    def calls_to_list(keys, after):
        with store_of(keys) as db:
            return calls_of(lambda: db.kv.list("r", limit=10, after=after))

    assert abs(calls_to_list(LARGE, "key-019000") - calls_to_list(SMALL, "key-000500")) <= 12


def test_validation_looks_at_each_key_once_and_at_no_other():
    """100 reads and 20 writes: no Python call per key, so the number of calls is that of an empty judgement."""

    def calls_to_commit(keys_read):
        with store_of(SMALL) as db:
            txn = db.begin("r")
            for number in range(keys_read):
                txn.get(f"key-{number:06}")
            txn.put("key-000000", 1)
            return calls_of(txn.commit)

    assert calls_to_commit(100) == calls_to_commit(1)
