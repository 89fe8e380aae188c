"""A view outside of any transaction shows what one in a transaction does, and writes nothing."""

import pytest

from inmem.engine.commits.reader import Reader
from inmem.engine.commits.view import View
from inmem.engine.errors import InvariantError
from inmem.engine.keys import Tag
from inmem.primitives.kv import value_of
from tests.primitives.store import Store

KEYS = ["expired", "gone", "large", "live", "missing", "timed"]


@pytest.fixture
def store():
    store = Store()
    store.do(lambda txn: store.kv(txn=txn).put("live", 1))
    store.do(lambda txn: store.kv(txn=txn).put("large", "x" * 100_000))
    store.do(lambda txn: store.kv(txn=txn).put("timed", 2, ttl=60))
    store.do(lambda txn: store.kv(txn=txn).put("expired", 3, ttl=1))
    store.do(lambda txn: store.kv(txn=txn).put("gone", 4))
    store.do(lambda txn: store.kv(txn=txn).delete("gone"))
    store.now_us += 2_000_000
    return store


def shown(view: View):
    """What each method that reads returns."""
    view.require_active()
    keys = [key.encode() for key in KEYS]
    return (
        [(view.get(key), view.get_entry(key), view.version(key), view.wrote(key)) for key in keys],
        [list(view.scan(reverse=reverse)) for reverse in (False, True)],
        list(view.scan(b"f", b"m")),
        (view.last(), view.count()),
    )


@pytest.mark.parametrize("run", ["run", "empty"])
def test_it_shows_what_a_transaction_shows(store, run):
    reader = Reader(store.snapshot, store.now_us)
    assert shown(reader.view(run, Tag.KV)) == shown(store.begin().view(run, Tag.KV))
    kv = store.kv()
    assert [value_of(store.snapshot, "run", key, lambda: store.now_us) for key in KEYS] == [kv.get(key) for key in KEYS]
    assert value_of(store.snapshot, "empty", "live", lambda: store.now_us) is None


@pytest.mark.parametrize(
    "write",
    [
        lambda view: view.put(b"k", b"v"),
        lambda view: view.delete(b"k"),
        lambda view: view.cas(b"k", 0, b"v"),
        lambda view: view.remove_expired(b"k", 1),
    ],
)
def test_it_refuses_to_write(store, write):
    with pytest.raises(InvariantError, match="a reader was asked to write"):
        write(Reader(store.snapshot, store.now_us).view("run", Tag.KV))
