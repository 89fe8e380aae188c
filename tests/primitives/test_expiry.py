import pytest

from inmem.engine.commits.conflicts import ReadConflict
from inmem.engine.commits.transaction import TransactionStatus
from inmem.engine.errors import TransactionClosedError
from inmem.engine.keys import Key, Tag
from inmem.primitives.expiry import reap
from tests.primitives.store import Store


@pytest.fixture
def store():
    store = Store()
    with store.transaction() as txn:
        kv = store.kv(txn=txn)
        kv.put("for ever", 0)
        for seconds in (1, 2, 3):
            kv.put(f"{seconds} s", seconds, seconds)
    return store


def table(store):
    return store.snapshot.table("run", Tag.KV)


def test_reaping_leaves_tombstones_for_expired_keys_and_nothing_else(store):
    store.now_us += 2_000_000
    assert store.do(lambda txn: reap(txn, "run", [b"1 s", b"2 s", b"3 s", b"for ever", b"absent"], store.now_us)) == 2
    assert {key: entry[1] is None for key, entry in table(store).range()} == {
        b"1 s": True,
        b"2 s": True,
        b"3 s": False,
        b"for ever": False,
    }
    assert store.do(lambda txn: reap(txn, "run", [b"1 s", b"2 s"], store.now_us)) == 0
    assert store.kv().list() == ["3 s", "for ever"]


def test_the_limit_counts_not_the_clock_of_the_reaping_transaction(store):
    begun = store.now_us
    store.now_us += 9_000_000
    assert store.do(lambda txn: reap(txn, "run", [b"1 s", b"2 s", b"3 s"], begun + 1_000_000)) == 1


def test_a_key_written_anew_is_not_reaped(store):
    store.now_us += 1_500_000
    store.do(lambda txn: store.kv(txn=txn).put("1 s", "again", 60))
    assert store.do(lambda txn: reap(txn, "run", [b"1 s"], store.now_us)) == 0
    assert store.kv().get("1 s") == "again"


def test_a_key_written_in_the_same_transaction_is_not_reaped(store):
    store.now_us += 1_500_000
    txn = store.begin()
    store.kv(txn=txn).put("1 s", "again")
    assert reap(txn, "run", [b"1 s"], store.now_us) == 0
    assert store.kv(txn=txn).get("1 s") == "again"


def test_the_reaper_loses_against_a_writer_of_the_key(store):
    store.now_us += 1_500_000
    reaper = store.begin()
    reap(reaper, "run", [b"1 s"], store.now_us)
    store.do(lambda txn: store.kv(txn=txn).put("1 s", "again"))
    assert ReadConflict(Key.kv("run", "1 s"), 1, 2) in store.conflicts(reaper)
    assert store.kv().get("1 s") == "again"


def test_reaping_needs_an_open_transaction(store):
    txn = store.begin()
    txn.view("run", Tag.KV)
    txn.finish(TransactionStatus.ABORTED)
    with pytest.raises(TransactionClosedError):
        reap(txn, "run", [b"1 s"], store.now_us + 9_000_000)


def test_reaping_can_be_rolled_back(store):
    store.now_us += 1_500_000
    txn = store.begin()
    mark = txn.mark()
    assert reap(txn, "run", [b"1 s"], store.now_us) == 1
    txn.rollback_to(mark)
    assert not txn.has_writes
