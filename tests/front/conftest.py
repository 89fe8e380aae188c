"""The four kinds of store on which the rules of transactions are tested."""

import pytest

import inmem

SETUPS = {
    "memory": {},
    "disk": {},
    "threads": {"dispatcher": "threads"},
    "3 shards": {"shards": 3},
}


@pytest.fixture(params=SETUPS)
def any_db(request, tmp_path):
    """A store of each kind; stores with files do not wait for the disk."""
    path = ":memory:" if request.param == "memory" else tmp_path / "db"
    with inmem.open(path, durability="never", **SETUPS[request.param]) as db:
        yield db
        db._client.snapshot().check()


@pytest.fixture
def db():
    with inmem.open(":memory:") as db:
        yield db
