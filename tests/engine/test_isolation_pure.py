"""The isolation table of the contract, row by row, on Transaction and Shard alone.

T1 and T2 overlap and T1 commits first unless said. Each row is named by its anomaly and runs at both isolation levels.
"""

import pytest

from inmem.engine.commits.conflicts import CasConflict, ReadConflict, ScanConflict, WriteConflict
from inmem.engine.commits.part import Part
from inmem.engine.commits.shard import Blocked, Prepared, Refused, Shard
from inmem.engine.commits.table_view import TableView
from inmem.engine.commits.transaction import Isolation, Transaction
from inmem.engine.keys import Key, Tag, prefix_end
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from tests.engine.seeded_entropy import SeededEntropy

RUN = "run"
X, Y = Key.kv(RUN, "x"), Key.kv(RUN, "y")


class Store:
    """One shard and the published version; commits happen at once."""

    def __init__(self, isolation: Isolation) -> None:
        self.isolation = isolation
        self.shard = Shard(persistent({}))
        self.version = 0
        self.last_id = 0

    @property
    def serializable(self) -> bool:
        return self.isolation is Isolation.SERIALIZABLE

    def begin(self) -> Transaction:
        self.last_id += 1
        snapshot = Snapshot(self.version, (self.shard.root,))
        return Transaction(self.last_id, snapshot, 0, SeededEntropy(), self.isolation)

    def prepare(self, txn: Transaction):
        request = txn.seal()
        return self.shard.prepare(
            Part(txn.id, request.start_version, request.slices, request.dropped_runs, request.judges_drops)
        )

    def commit(self, txn: Transaction) -> tuple:
        """Return the conflicts; none means that it is committed."""
        if not txn.has_writes:
            return ()
        verdict = self.prepare(txn)
        if isinstance(verdict, Refused):
            return verdict.conflicts
        assert isinstance(verdict, Prepared)
        self.version += 1
        self.shard.apply(txn.id, self.version)
        return ()

    def put(self, **values: bytes) -> None:
        txn = self.begin()
        for key, value in values.items():
            kv(txn).put(key.encode(), value)
        assert self.commit(txn) == ()

    def delete(self, key: bytes) -> None:
        txn = self.begin()
        assert kv(txn).delete(key)
        assert self.commit(txn) == ()

    def get(self, key: bytes) -> bytes | None:
        return kv(self.begin()).get(key)


def kv(txn: Transaction) -> TableView:
    return txn.view(RUN, Tag.KV)


def scan(txn: Transaction, prefix: bytes) -> list[tuple[bytes, bytes]]:
    return list(kv(txn).scan(prefix, prefix_end(prefix)))


@pytest.fixture(params=Isolation)
def store(request) -> Store:
    """x = y = 1 at version 1."""
    store = Store(request.param)
    store.put(x=b"1", y=b"1")
    return store


def test_g0_dirty_write(store: Store) -> None:
    t1, t2 = store.begin(), store.begin()
    kv(t1).put(b"x", b"t1")
    kv(t2).put(b"x", b"t2")
    kv(t1).put(b"y", b"t1")
    kv(t2).put(b"y", b"t2")
    assert store.commit(t1) == ()
    assert store.commit(t2) == (WriteConflict(X, 1, 2), WriteConflict(Y, 1, 2))
    assert (store.get(b"x"), store.get(b"y")) == (b"t1", b"t1")


def test_g1a_aborted_read(store: Store) -> None:
    t1, t2 = store.begin(), store.begin()
    kv(t1).put(b"x", b"t1")
    assert isinstance(store.prepare(t1), Prepared)
    assert kv(t2).get(b"x") == b"1"
    assert store.get(b"x") == b"1"
    store.shard.release(t1.id)
    assert store.get(b"x") == b"1"
    kv(t2).put(b"y", b"t2")
    assert store.commit(t2) == ()


def test_g1b_intermediate_read(store: Store) -> None:
    t1, t2 = store.begin(), store.begin()
    kv(t1).put(b"x", b"intermediate")
    assert kv(t2).get(b"x") == b"1"
    kv(t1).put(b"x", b"final")
    assert store.commit(t1) == ()
    assert kv(t2).get(b"x") == b"1"
    assert store.get(b"x") == b"final"


def test_g1c_circular_information_flow(store: Store) -> None:
    t1, t2 = store.begin(), store.begin()
    kv(t1).put(b"x", b"t1")
    kv(t2).put(b"y", b"t2")
    assert (kv(t1).get(b"y"), kv(t2).get(b"x")) == (b"1", b"1")
    assert store.commit(t1) == ()
    assert store.commit(t2) == (ReadConflict(X, 1, 2),)


def test_otv_observed_transaction_vanishes(store: Store) -> None:
    t1, t2, t3 = store.begin(), store.begin(), store.begin()
    kv(t1).put(b"x", b"t1")
    kv(t1).put(b"y", b"t1")
    assert kv(t3).get(b"x") == b"1"
    assert store.commit(t1) == ()
    kv(t2).put(b"x", b"t2")
    kv(t2).put(b"y", b"t2")
    assert store.commit(t2) == (WriteConflict(X, 1, 2), WriteConflict(Y, 1, 2))
    assert kv(t3).get(b"y") == b"1"
    assert store.commit(t3) == ()


def test_pmp_predicate_many_preceders_of_a_reader(store: Store) -> None:
    t1 = store.begin()
    assert scan(t1, b"") == [(b"x", b"1"), (b"y", b"1")]
    store.put(z=b"1")
    assert scan(t1, b"") == [(b"x", b"1"), (b"y", b"1")]
    assert store.commit(t1) == ()


def test_g_single_read_skew_of_a_reader(store: Store) -> None:
    t2 = store.begin()
    assert kv(t2).get(b"x") == b"1"
    store.put(x=b"2", y=b"2")
    assert kv(t2).get(b"y") == b"1"
    assert store.commit(t2) == ()


def test_p4_lost_update(store: Store) -> None:
    t1, t2 = store.begin(), store.begin()
    assert kv(t1).get(b"x") == kv(t2).get(b"x") == b"1"
    kv(t1).put(b"x", b"t1")
    kv(t2).put(b"x", b"t2")
    assert store.commit(t1) == ()
    assert store.commit(t2) == (ReadConflict(X, 1, 2), WriteConflict(X, 1, 2))
    assert store.get(b"x") == b"t1"


def test_read_x_other_commits_x_write_y(store: Store) -> None:
    t2 = store.begin()
    kv(t2).get(b"x")
    store.put(x=b"2")
    kv(t2).put(b"y", b"t2")
    assert store.commit(t2) == (ReadConflict(X, 1, 2),)


def test_read_x_other_commits_x_no_writes(store: Store) -> None:
    t2 = store.begin()
    kv(t2).get(b"x")
    store.put(x=b"2")
    assert store.commit(t2) == ()
    assert store.version == 2


def test_g2_item_crossed_write_skew(store: Store) -> None:
    t1, t2 = store.begin(), store.begin()
    kv(t1).get(b"x")
    kv(t2).get(b"y")
    kv(t1).put(b"y", b"t1")
    kv(t2).put(b"x", b"t2")
    assert store.commit(t1) == ()
    assert store.commit(t2) == (ReadConflict(Y, 1, 2),)


def test_g2_item_write_skew_after_reading_both(store: Store) -> None:
    t1, t2 = store.begin(), store.begin()
    for txn in (t1, t2):
        assert (kv(txn).get(b"x"), kv(txn).get(b"y")) == (b"1", b"1")
    kv(t1).put(b"x", b"t1")
    kv(t2).put(b"y", b"t2")
    assert store.commit(t1) == ()
    assert store.commit(t2) == (ReadConflict(X, 1, 2),)


def test_g2_predicate_write_skew_both_scan_and_insert(store: Store) -> None:
    t1, t2 = store.begin(), store.begin()
    assert scan(t1, b"p/") == scan(t2, b"p/") == []
    kv(t1).put(b"p/1", b"t1")
    kv(t2).put(b"p/2", b"t2")
    assert store.commit(t1) == ()
    phantom = ScanConflict(Key.kv(RUN, "p/"), b"p0", 1, Key.kv(RUN, "p/1"), 2)
    assert store.commit(t2) == ((phantom,) if store.serializable else ())


def test_phantom_scan_then_write_elsewhere(store: Store) -> None:
    t2 = store.begin()
    scan(t2, b"p/")
    store.put(**{"p/1": b"1"})
    kv(t2).put(b"elsewhere", b"t2")
    phantom = ScanConflict(Key.kv(RUN, "p/"), b"p0", 1, Key.kv(RUN, "p/1"), 2)
    assert store.commit(t2) == ((phantom,) if store.serializable else ())


def test_a_key_outside_the_scanned_range_is_no_phantom(store: Store) -> None:
    t2 = store.begin()
    scan(t2, b"p/")
    store.put(p0=b"1", p=b"1")
    kv(t2).put(b"elsewhere", b"t2")
    assert store.commit(t2) == ()


def test_a_scanned_key_that_was_returned_is_validated_as_an_item(store: Store) -> None:
    t2 = store.begin()
    scan(t2, b"x")
    store.put(x=b"2")
    kv(t2).put(b"elsewhere", b"t2")
    item, phantom = ReadConflict(X, 1, 2), ScanConflict(X, b"y", 1, X, 2)
    assert store.commit(t2) == ((item, phantom) if store.serializable else (item,))


@pytest.mark.parametrize("deletes", [False, True])
def test_read_missing_other_creates_or_creates_and_deletes(store: Store, deletes: bool) -> None:
    t2 = store.begin()
    assert kv(t2).get(b"new") is None
    store.put(new=b"1")
    if deletes:
        store.delete(b"new")
    kv(t2).put(b"y", b"t2")
    assert store.commit(t2) == (ReadConflict(Key.kv(RUN, "new"), 0, 3 if deletes else 2),)


def test_read_tombstone_other_recreates(store: Store) -> None:
    store.delete(b"x")
    t2 = store.begin()
    assert kv(t2).get(b"x") is None
    store.put(x=b"again")
    kv(t2).put(b"y", b"t2")
    assert store.commit(t2) == (ReadConflict(X, 2, 3),)


def test_aba_other_rewrites_the_same_value(store: Store) -> None:
    t2 = store.begin()
    kv(t2).get(b"x")
    store.put(x=b"1")
    kv(t2).put(b"y", b"t2")
    assert store.commit(t2) == (ReadConflict(X, 1, 2),)


def test_cas_stale(store: Store) -> None:
    t2 = store.begin()
    kv(t2).cas(b"x", 1, b"t2")
    store.put(x=b"2")
    assert store.commit(t2) == (CasConflict(X, 1, 2),)


def test_cas_0_on_a_tombstone(store: Store) -> None:
    store.delete(b"x")
    t2 = store.begin()
    kv(t2).cas(b"x", 0, b"t2")
    assert store.commit(t2) == (CasConflict(X, 0, 2),)


def test_cas_is_judged_by_its_expectation_alone(store: Store) -> None:
    # It expects what came after its snapshot: neither the read rule nor the write rule stands in the way.
    t2 = store.begin()
    kv(t2).cas(b"x", 2, b"t2")
    kv(t2).cas(b"never", 0, b"t2")
    store.put(x=b"2")
    assert store.commit(t2) == ()
    assert store.get(b"x") == b"t2"


def test_delete_against_put(store: Store) -> None:
    t1, t2 = store.begin(), store.begin()
    assert kv(t1).delete(b"x")
    kv(t2).put(b"x", b"t2")
    assert store.commit(t1) == ()
    assert store.commit(t2) == (WriteConflict(X, 1, 2),)
    assert store.get(b"x") is None


def test_all_conflicts_are_reported_at_once(store: Store) -> None:
    store.put(z=b"1")
    t2 = store.begin()
    scan(t2, b"w")
    kv(t2).get(b"x")
    kv(t2).put(b"y", b"t2")
    kv(t2).cas(b"z", 2, b"t2")
    store.put(w=b"2", x=b"2", y=b"2", z=b"2")
    z = Key.kv(RUN, "z")
    items = (ReadConflict(X, 1, 3), WriteConflict(Y, 2, 3), CasConflict(z, 2, 3))
    w = Key.kv(RUN, "w")
    assert store.commit(t2) == ((*items, ScanConflict(w, b"x", 2, w, 3)) if store.serializable else items)


@pytest.mark.parametrize(
    ("touch", "kinds"),
    [
        (lambda txn: kv(txn).get(b"x"), [ReadConflict]),
        (lambda txn: kv(txn).get(b"never existed"), [ReadConflict]),
        (lambda txn: kv(txn).put(b"new", b"t2"), [WriteConflict]),
        (lambda txn: kv(txn).cas(b"new", 0, b"t2"), [CasConflict]),
        (lambda txn: kv(txn).delete(b"x"), [ReadConflict, WriteConflict]),
        (lambda txn: txn.drop_run(RUN), [WriteConflict]),
    ],
    ids=["read", "read of an absent key", "put", "cas", "delete", "drop"],
)
@pytest.mark.parametrize("recreated", [False, True])
def test_a_run_deleted_since_is_never_brought_back(store: Store, touch, kinds, recreated: bool) -> None:
    t2, deleter = store.begin(), store.begin()
    touch(t2)
    t2.view("other", Tag.KV).put(b"k", b"t2")
    deleter.drop_run(RUN)
    assert store.commit(deleter) == ()
    if recreated:
        store.put(x=b"anew")
    assert [type(conflict) for conflict in store.commit(t2)] == kinds
    assert store.get(b"x") == (b"anew" if recreated else None)


def test_deleting_a_run_loses_to_whoever_wrote_to_it_first(store: Store) -> None:
    deleter = store.begin()
    deleter.drop_run(RUN)
    store.put(new=b"1")
    assert store.commit(deleter) == (WriteConflict(Key.run(RUN), 1, 2),)
    assert store.get(b"new") == b"1"


def test_nobody_is_judged_while_the_outcome_of_another_commit_is_open(store: Store) -> None:
    t1, t2 = store.begin(), store.begin()
    kv(t1).put(b"x", b"t1")
    kv(t2).get(b"x")
    kv(t2).put(b"y", b"t2")
    assert isinstance(store.prepare(t1), Prepared)
    assert store.prepare(t2) == Blocked(frozenset({t1.id}))
