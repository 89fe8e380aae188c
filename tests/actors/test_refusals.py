"""An error that answers several callers is a new one for each: nobody's frames are kept, and no traceback is shared."""

import gc
import weakref

import pytest

import inmem
from inmem.actors.requests.primitive_actors import PRIMITIVE_ACTORS
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, disk_full, open_on


def put(db):
    db.put("run", "k", 1)


def transact(db):
    db.transaction("run", lambda txn: txn.put("k", 1))


def flush(db):
    db.flush()


class InHand:
    """What a caller has in hand when it is refused."""


def refused(work, db, error_class):
    """Have `work` refused; return the error, and whether what its caller had in hand is still there."""
    in_hand = InHand()
    there = weakref.ref(in_hand)
    with pytest.raises(error_class) as caught:
        work(db)
    return caught.value, there


def require_new_errors(work, db, error_class):
    first, first_there = refused(work, db, error_class)
    second, _ = refused(work, db, error_class)
    assert first is not second
    assert (type(first), str(first), vars(first)) == (type(second), str(second), vars(second))
    first = None
    gc.collect()
    assert first_there() is None


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("work", [put, transact, flush])
def test_a_store_that_is_read_only_keeps_nothing_of_whom_it_refuses(tmp_path, dispatcher, work):
    inmem.open(tmp_path / "db").close()
    with inmem.open(tmp_path / "db", read_only=True, dispatcher=dispatcher) as db:
        require_new_errors(work, db, inmem.ReadOnlyError)


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("work", [put, transact, flush])
def test_nor_does_one_that_has_failed(tmp_path, dispatcher, work):
    disk = FaultyDisk(tmp_path / "db")
    with open_on(disk, dispatcher=dispatcher, durability="always") as db:
        disk.fail("sync", forever=True)
        for _ in range(10):
            with pytest.raises((inmem.TransactionError, inmem.StoreFailedError)):
                put(db)
        require_new_errors(work, db, inmem.StoreFailedError)
        disk.repair()
        db.recover()
        put(db)


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_nor_does_an_actor_that_was_given_up(tmp_path, dispatcher, monkeypatch):
    def fail(*_):
        raise ValueError("on purpose")

    with inmem.open(tmp_path / "db", dispatcher=dispatcher) as db:
        monkeypatch.setattr(PRIMITIVE_ACTORS["kv"], "perform", fail)
        for _ in range(10):
            with pytest.raises((inmem.TransactionAbortedError, inmem.StoreFailedError)):
                put(db)
        require_new_errors(put, db, inmem.StoreFailedError)


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_requests_that_fail_together_get_an_error_each(tmp_path, dispatcher):
    disk = FaultyDisk(tmp_path / "db")
    with open_on(disk, dispatcher=dispatcher, durability="always") as db:
        db.put("run", "k", 0)
        gate = disk.gate("sync", ".wal")
        futures = [db.kv.futures.put("run", "k0", 0)]
        assert gate.arrived.wait(FAILSAFE_S)
        # These wait for the first one, and then share a commit.
        futures += [db.kv.futures.put("run", f"k{number}", number) for number in range(1, 9)]
        disk.fail("append", disk_full, forever=True)
        gate.open()
        errors = []
        assert futures.pop(0).get(timeout=FAILSAFE_S) == 2
        for future in futures:
            with pytest.raises(inmem.DiskFullError) as caught:
                future.get(timeout=FAILSAFE_S)
            errors.append(caught.value)
        disk.repair()
        assert len({id(error) for error in errors}) == 8
        assert db.put("run", "k", 1) == 3


def test_a_copy_has_the_cause_and_the_notes():
    error = inmem.StorageError("the disk is gone")
    error.add_note("look behind the shelf")
    error.__cause__ = OSError("gone")
    twin = error.anew()
    assert (str(twin), twin.__notes__, twin.__cause__) == (str(error), error.__notes__, error.__cause__)
    assert twin.__traceback__ is None
