import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from inmem.engine.codec import Encoded, encode_value
from inmem.engine.commits.conflicts import CasConflict, ReadConflict, WriteConflict
from inmem.engine.commits.transaction import Isolation
from inmem.engine.errors import InvalidKeyError, InvalidValueError, UsageError
from inmem.engine.keys import Key
from inmem.engine.limits import INT_MAX
from inmem.primitives.kv import KVOperations, VersionedValue
from tests.primitives.machine import TransactionMachine, by_bytes, limits, names, values
from tests.primitives.store import Store


class KVMachine(TransactionMachine):
    """The model maps a key to its value and deadline."""

    def kv(self) -> KVOperations:
        return KVOperations(self.txn, "run")

    def alive(self):
        now_us = self.txn.now_us
        return {key: value for key, (value, deadline) in self.model.items() if deadline is None or deadline > now_us}

    @rule(key=names, value=values, ttl_us=st.none() | st.integers(1, 5))
    def put(self, key, value, ttl_us):
        self.kv().put(key, value, None if ttl_us is None else ttl_us / 1_000_000)
        self.model[key] = (value, None if ttl_us is None else self.txn.now_us + ttl_us)

    @rule(key=names)
    def delete(self, key):
        assert self.kv().delete(key) == (key in self.alive())
        self.model.pop(key, None)

    @rule(key=names, value=values)
    def cas(self, key, value):
        table = self.store.snapshot.table("run", 1)
        entry = None if table is None else table.get(key.encode())
        self.kv().cas(key, 0 if entry is None else entry[0], value)
        self.model[key] = (value, None)

    @rule(prefix=st.none() | names | st.just(""), after=st.none() | names, limit=limits)
    def page(self, prefix, after, limit):
        expected = [
            key
            for key in by_bytes(self.alive())
            if key.startswith(prefix or "") and (after is None or key.encode() > after.encode())
        ][:limit]
        assert self.kv().list(prefix, limit, after) == expected
        assert self.kv().list_with_values(prefix, limit, after) == [(key, self.alive()[key]) for key in expected]

    @rule(keys=st.lists(names))
    def read(self, keys):
        alive = self.alive()
        assert self.kv().get_many(keys) == {key: alive[key] for key in keys if key in alive}
        for key in keys:
            assert self.kv().get(key) == alive.get(key)
            assert self.kv().exists(key) == (key in alive)
            versioned = self.kv().get_versioned(key)
            assert (versioned is None) == (key not in alive)
            if versioned is not None:
                assert versioned.value == alive[key]
                assert versioned.expires_at == self.model[key][1]

    def check(self):
        alive = self.alive()
        assert list(self.kv().scan()) == [(key, alive[key]) for key in by_bytes(alive)]


TestKVStore = pytest.mark.unmeasured(KVMachine.TestCase)


@pytest.fixture
def store():
    return Store()


def test_an_expired_key_is_absent_everywhere_from_its_deadline_on(store):
    store.do(lambda txn: store.kv(txn=txn).put("k", 1, 0.5))
    store.now_us += 499_999
    assert store.kv().get_versioned("k") == VersionedValue(1, 1, store.now_us + 1)
    store.now_us += 1
    kv = store.kv()
    assert kv.get("k") is None
    assert kv.get_versioned("k") is None
    assert kv.get_many(["k"]) == {}
    assert kv.list() == kv.list_with_values() == list(kv.scan()) == []
    assert not kv.exists("k")
    assert kv.delete("k") is False


def test_expiry_does_not_change_under_a_running_transaction(store):
    store.do(lambda txn: store.kv(txn=txn).put("k", 1, 1))
    kv = store.kv()
    store.now_us += 2_000_000
    assert kv.get("k") == 1
    assert store.kv().get("k") is None


def test_a_put_without_ttl_forgets_the_deadline(store):
    store.do(lambda txn: store.kv(txn=txn).put("k", 1, 1))
    store.do(lambda txn: store.kv(txn=txn).put("k", 2))
    store.now_us += 10_000_000
    assert store.kv().get("k") == 2


def test_the_shortest_ttl_outlives_its_own_transaction(store):
    txn = store.begin()
    store.kv(txn=txn).put("k", 1, 1e-12)
    assert store.kv(txn=txn).get("k") == 1


@pytest.mark.parametrize(
    "ttl", [0, -1, -0.0, math.nan, math.inf, -math.inf, True, "1", 1e300, 10**30, pytest.param(10**400, id="10**400")]
)
def test_a_ttl_that_is_no_time_to_live_is_refused_at_the_call(store, ttl):
    txn = store.begin()
    with pytest.raises(UsageError, match=r"^ttl: "):
        store.kv(txn=txn).put("k", 1, ttl)
    with pytest.raises(UsageError, match=r"^ttl: "):
        store.kv(txn=txn).cas("k", 0, 1, ttl)
    assert not txn.has_writes


def test_the_latest_deadline_fits(store):
    store.now_us = INT_MAX - 1
    txn = store.begin()
    store.kv(txn=txn).put("k", 1, 1e-6)
    assert store.kv(txn=txn).get_versioned("k").expires_at == INT_MAX


@pytest.mark.parametrize("version", [-1, True, 1.0, "1", None])
def test_cas_refuses_what_is_no_version(store, version):
    with pytest.raises(UsageError, match=r"^expected_version: "):
        store.kv().cas("k", version, 1)


def test_cas_checks_the_version_at_commit_and_nothing_else(store):
    store.do(lambda txn: store.kv(txn=txn).put("k", 1))
    winner, loser = store.begin(), store.begin()
    for txn in (winner, loser):
        store.kv(txn=txn).cas("k", 1, 2)
    assert store.conflicts(winner) == ()
    assert store.conflicts(loser) == (CasConflict(Key.kv("run", "k"), 1, 2),)


def test_cas_to_0_fails_on_a_deleted_and_on_an_expired_key(store):
    store.do(lambda txn: store.kv(txn=txn).put("deleted", 1))
    store.do(lambda txn: store.kv(txn=txn).delete("deleted"))
    store.do(lambda txn: store.kv(txn=txn).put("expired", 1, 1))
    store.now_us += 2_000_000
    txn = store.begin()
    store.kv(txn=txn).cas("deleted", 0, 1)
    store.kv(txn=txn).cas("expired", 0, 1)
    assert store.conflicts(txn) == (
        CasConflict(Key.kv("run", "deleted"), 0, 2),
        CasConflict(Key.kv("run", "expired"), 0, 3),
    )


def test_own_writes_have_the_version_that_a_cas_would_have_to_expect(store):
    store.do(lambda txn: store.kv(txn=txn).put("old", 1))
    txn = store.begin()
    kv = store.kv(txn=txn)
    kv.put("old", 2)
    kv.put("new", 2)
    assert kv.get_versioned("old") == VersionedValue(2, 1, None)
    assert kv.get_versioned("new") == VersionedValue(2, 0, None)


def test_the_version_of_a_deleted_key_is_that_of_its_deletion(store):
    store.do(lambda txn: store.kv(txn=txn).put("k", 1))
    store.do(lambda txn: store.kv(txn=txn).delete("k"))
    txn = store.begin()
    assert [store.kv(txn=txn).version(key) for key in ("k", "never")] == [2, 0]
    store.do(lambda other: store.kv(txn=other).put("k", 1))
    store.kv(txn=txn).put("other", 1)
    assert store.conflicts(txn) == (ReadConflict(Key.kv("run", "k"), 2, 3),)


def test_a_key_counts_as_written_once_it_is_put_or_deleted(store):
    store.do(lambda txn: store.kv(txn=txn).put("old", 1))
    kv = store.kv()
    assert not kv.wrote("old")
    kv.delete("old")
    kv.put("new", 1)
    assert kv.wrote("old")
    assert kv.wrote("new")


def test_reads_of_absent_keys_are_remembered(store):
    reader, writer = store.begin(), store.begin()
    assert store.kv(txn=reader).get_many(["k"]) == {}
    store.kv(txn=reader).put("other", 1)
    store.kv(txn=writer).put("k", 1)
    store.commit(writer)
    assert store.conflicts(reader) == (ReadConflict(Key.kv("run", "k"), 0, 1),)


def test_the_first_of_two_blind_writers_wins(store):
    first, second = store.begin(), store.begin()
    for txn in (first, second):
        store.kv(txn=txn).put("k", 1)
    store.commit(first)
    assert store.conflicts(second) == (WriteConflict(Key.kv("run", "k"), 0, 1),)


def test_a_limited_list_reads_no_further_than_it_must(store):
    store.do(lambda txn: [store.kv(txn=txn).put(key, 1) for key in "abc"])
    reader, writer = store.begin(), store.begin()
    assert store.kv(txn=reader).list(limit=1) == ["a"]
    store.kv(txn=reader).put("x", 1)
    store.kv(txn=writer).put("c", 2)
    store.commit(writer)
    assert store.conflicts(reader) == ()


def test_paging_visits_every_key_once(store):
    keys = [f"k{number:03}" for number in range(100)]
    store.do(lambda txn: [store.kv(txn=txn).put(key, 1) for key in keys])
    seen, after = [], None
    while page := store.kv().list("k", 7, after):
        seen += page
        after = page[-1]
    assert seen == keys


def test_a_serializable_scan_conflicts_with_an_insert_in_its_range(store):
    txn = store.begin(Isolation.SERIALIZABLE)
    assert store.kv(txn=txn).list("a") == []
    store.kv(txn=txn).put("z", 1)
    store.do(lambda other: store.kv(txn=other).put("a1", 1))
    assert len(store.conflicts(txn)) == 1


def test_nothing_that_is_passed_in_or_read_out_is_the_stored_value(store):
    value = {"items": [1]}
    txn = store.begin()
    kv = store.kv(txn=txn)
    kv.put("k", value)
    value["items"].append(2)
    kv.get("k")["items"].append(3)
    kv.get_many(["k"])["k"]["items"].append(4)
    kv.get_versioned("k").value["items"].append(5)
    assert kv.get("k") == {"items": [1]}


def test_an_encoded_value_is_stored_as_it_is(store):
    txn = store.begin()
    store.kv(txn=txn).put("k", Encoded(encode_value([1, "é"])))
    assert store.kv(txn=txn).get("k") == [1, "é"]


def test_a_stored_none_is_there(store):
    txn = store.begin()
    kv = store.kv(txn=txn)
    kv.put("k", None)
    assert kv.exists("k")
    assert kv.get_many(["k"]) == {"k": None}
    assert kv.delete("k") is True


@pytest.mark.parametrize("call", ["get", "get_versioned", "delete", "exists"])
@pytest.mark.parametrize("key", [b"k", None, 1, "\ud800", "x" * 1025])
def test_what_is_no_key_is_refused(store, call, key):
    with pytest.raises(InvalidKeyError, match=r"^key: "):
        getattr(store.kv(), call)(key)


def test_arguments_are_refused_by_name(store):
    kv = store.kv()
    with pytest.raises(InvalidKeyError, match=r"^prefix: "):
        kv.list(1)
    with pytest.raises(InvalidKeyError, match=r"^after: "):
        kv.list(after=1)
    for limit in (-1, True, 1.0, "1"):
        with pytest.raises(UsageError, match=r"^limit: "):
            kv.list(limit=limit)
    with pytest.raises(UsageError, match=r"^keys: "):
        kv.get_many("abc")
    for put in (kv.put, lambda key, value: kv.cas(key, 0, value)):
        with pytest.raises(InvalidValueError, match=r"""^value of 'k'\["a"\]\[0\]: set cannot be stored""") as caught:
            put("k", {"a": [set()]})
        assert caught.value.path == """value of 'k'["a"][0]"""
        with pytest.raises(InvalidValueError, match=r"^value of \{1\}: set cannot be stored"):
            put({1}, set())
