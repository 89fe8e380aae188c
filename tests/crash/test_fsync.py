"""A sync that has failed is never tried again; callers learn what is true, and nothing acknowledged depends on it.

Two disks after a failed sync: one still reads what was written (as Linux does, from its cache), the other has lost it.
"""

import contextlib
from pathlib import Path

import pytest

import inmem
from inmem import CommitOutcomeUnknownError, Database, StoreFailedError, TransactionAbortedError, TransactionClosedError
from inmem.engine.log.frame_reader import FrameReader
from inmem.engine.log.log_format import FrameKind, SegmentHeader
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, io_error, open_on, refused
from tests.actors.workload import Worker, in_parallel, state_of
from tests.engine.memory_disk import BytesFile, content_of
from tests.log_events import SECRET, told

DISPATCHERS = ("caller", "threads")
WORKERS = ("ada", "grace", "barbara")


@pytest.fixture
def disk(tmp_path: Path) -> FaultyDisk:
    return FaultyDisk(tmp_path / "db")


def close_and_compare(db: Database, disk: FaultyDisk, workers: list[Worker]) -> None:
    """Reopening from the real bytes gives what was live."""
    live, version = state_of(db), db.version
    db.close()
    assert not disk.violations
    with inmem.open(disk.path) as again:
        assert state_of(again) == live
        assert again.version == version
        for worker in workers:
            worker.check(again)
            for number, token in worker.unknown.items():
                there = again.get(worker.name, f"{number:08}") is not None
                assert (again.outcome(token) == "committed") is there


def test_one_failed_sync_is_not_retried_and_the_tail_is_written_anew(disk, events):
    db = open_on(disk)
    db.put("run", "first", 1)
    fault = disk.fail("sync")
    txn = db.begin("run")
    txn.put("k", SECRET)
    assert txn.commit() == 2
    assert fault.struck.is_set()
    assert ("rename", "000000000002.wal") in disk.history
    data = content_of(disk.inner, "000000000002.wal")
    header = SegmentHeader.decode(data, "", is_last=False)
    commits = [
        frame.version for frame in FrameReader(BytesFile(data), header, "", None) if frame.kind == FrameKind.COMMIT
    ]
    assert commits == [2]
    (rewritten,) = told(events, "warning", "tail_rewritten")
    assert rewritten == {"segment": 2, "commits": 1, "file": "000000000001.wal", "offset": header.previous_end}
    (restarted,) = told(events, "warning", "restarted")
    assert (restarted["version"], restarted["in_flight"]) == (2, 1)
    assert "injected: input/output error" in restarted["because"]
    assert db.put("run", "next", 1) == 3
    close_and_compare(db, disk, [])


def test_what_a_failed_sync_has_lost_is_aborted(disk):
    db = open_on(disk)
    db.put("run", "first", 1)
    disk.fail("sync", drops_unsynced=True)
    txn = db.begin("run")
    txn.put("k", "v")
    with pytest.raises(TransactionAbortedError):
        txn.commit()
    assert db.get("run", "k") is None
    assert db.put("run", "k", "again") == 2
    close_and_compare(db, disk, [])


@pytest.mark.parametrize("drops", [False, True], ids=["keeps", "drops"])
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize("durability", ["always", "interval", "never"])
@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_the_nth_sync_fails_under_load(disk, durability, dispatcher, drops, at):
    disk.appends_overtake = durability != "always"
    db = open_on(disk, dispatcher=dispatcher, durability=durability, sync_interval=0.001)
    workers = [Worker(db, name) for name in WORKERS]
    in_parallel(*(lambda worker=worker: worker.do(2) for worker in workers))
    fault = disk.fail("sync", at=at, drops_unsynced=drops)
    while not fault.struck.is_set():
        in_parallel(*(lambda worker=worker: worker.do(2) for worker in workers))
        if durability != "always":
            db.flush()
    in_parallel(*(lambda worker=worker: worker.do(2) for worker in workers))
    lost_something = drops and durability != "always"
    if lost_something:
        # The weaker modes had acknowledged what is gone: a suffix, so that the rest still fits together.
        live, version = state_of(db), db.version
        db.close()
        with inmem.open(disk.path) as again:
            assert state_of(again) == live
            assert again.version == version
        assert not disk.violations
    else:
        assert not any(worker.unknown for worker in workers)
        close_and_compare(db, disk, workers)


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_syncs_that_fail_for_good_leave_a_store_for_readers(disk, durability, dispatcher):
    disk.appends_overtake = durability != "always"
    db = open_on(disk, dispatcher=dispatcher, durability=durability, sync_interval=0.001)
    workers = [Worker(db, name) for name in WORKERS]
    in_parallel(*(lambda worker=worker: worker.do(3) for worker in workers))
    fault = disk.fail("sync", forever=True)
    if durability == "never":
        with pytest.raises(StoreFailedError):
            db.flush()
    in_parallel(*(lambda worker=worker: worker.do(3) for worker in workers))
    assert fault.struck.wait(FAILSAFE_S)
    if durability == "interval":
        with pytest.raises(StoreFailedError):
            db.flush()
    with pytest.raises(StoreFailedError):
        db.put("run", "k", 1)
    with pytest.raises(StoreFailedError):
        db.flush()
    with pytest.raises(StoreFailedError):
        db.checkpoint()
    for worker in workers:
        assert set(worker.acked) <= {value for _, value in db.kv.list_with_values(worker.name)}
        assert len(worker.unknown) <= 1
    reading = db.begin("ada")
    assert reading.get("00000000") == 0
    reading.commit()
    with pytest.raises(StoreFailedError):
        db.recover()
    disk.repair()
    in_parallel(db.recover)
    assert db.put("run", "k", 2) == db.version
    in_parallel(*(lambda worker=worker: worker.do(2) for worker in workers))
    close_and_compare(db, disk, workers)


@pytest.mark.parametrize("drops", [False, True], ids=["keeps", "drops"])
def test_an_unknown_outcome_is_settled_by_reopening(disk, drops):
    db = open_on(disk)
    db.put("run", "first", 1)
    disk.fail("sync", forever=True, drops_unsynced=drops)
    txn = db.begin("run")
    txn.put("k", "v")
    if drops:
        # The log can be read, and it is not there: that is an answer.
        with pytest.raises(StoreFailedError):
            txn.commit()
        db.close()
        with inmem.open(disk.path) as again:
            assert again.get("run", "k") is None
        return
    with pytest.raises(CommitOutcomeUnknownError) as unknown:
        txn.commit()
    with pytest.raises(TransactionClosedError, match="validating"):
        txn.abort()
    assert db.get("run", "k") is None
    db.close()
    with inmem.open(disk.path) as again:
        assert again.outcome(unknown.value.token) == "committed"
        assert again.get("run", "k") == "v"


def test_if_the_log_cannot_even_be_read_only_reopening_tells(disk):
    db = open_on(disk)
    db.put("run", "first", 1)
    disk.fail("sync", forever=True)
    disk.fail("read", refused, forever=True)
    txn = db.begin("run")
    txn.put("k", "v")
    with pytest.raises(CommitOutcomeUnknownError) as unknown:
        txn.commit()
    assert db.get("run", "first") == 1
    db.close()
    with inmem.open(disk.path) as again:
        assert again.outcome(unknown.value.token) == "committed"


@pytest.mark.parametrize("operation", ["create", "append", "sync", "sync_names", "names", "read"])
def test_a_rebuild_that_fails_itself_is_done_again(disk, operation):
    """The tail cannot be written anew at first; nothing that is left of the attempt gets in the way of the next."""
    db = open_on(disk)
    db.put("run", "first", 1)
    disk.fail("sync")
    disk.fail(operation, io_error if operation == "sync" else refused, at=2)
    worker = Worker(db, "ada")
    worker.do(2)
    disk.repair()
    db.recover()
    worker.do(2)
    assert worker.acked[-1] == 3
    close_and_compare(db, disk, [worker])


@pytest.mark.parametrize("removal", ["remove", "sync_names"])
def test_a_segment_that_may_come_back_is_never_written_around(disk, removal):
    """Its creation fails and cannot be undone. Were the old segment continued, the new one's header, should a crash
    bring it back, would declare void what was appended since."""
    db = open_on(disk)
    db.put("run", "k0", 0)
    disk.fail("sync_names", refused)
    disk.fail(removal, refused)
    failed_at = len(disk.history)
    try:
        db.checkpoint()
    except StoreFailedError:
        db.recover()
    db.put("run", "k1", 1)
    assert ("append", "000000000001.wal") not in disk.history[failed_at:]
    close_and_compare(db, disk, [])


def test_a_header_that_need_not_be_durable_is_written_anew(disk):
    """Found by the simulation: the next segment would vouch for one that a power failure takes."""
    db = open_on(disk)
    disk.fail("sync", io_error, name_end=".wal")
    disk.fail("remove", refused)
    with contextlib.suppress(TransactionAbortedError, StoreFailedError):
        db.put("run", "k", 1)
    db.put("run", "k", 2)
    content = disk.history.index(("sync", "000000000001.wal.tmp"))
    name = disk.history.index(("rename", "000000000001.wal"))
    following = disk.history.index(("create", "000000000002.wal"))
    assert content < name < following
    assert ("sync_names", "") in disk.history[name:following]
    close_and_compare(db, disk, [])


@pytest.mark.parametrize("operation", ["sync", "sync_names", "append", "create", "rename", "remove"])
def test_a_checkpoint_that_cannot_be_synced_leaves_the_store_alone(disk, operation):
    db = open_on(disk)
    db.put("run", "k", 1)
    cores = db._client.directory.supervisor.mailbox.actor._core.number
    fault = disk.fail(
        operation,
        io_error if operation == "sync" else refused,
        name_end={"rename": ".checkpoint", "sync_names": "", "remove": ""}.get(operation, ".checkpoint.tmp"),
        # The first ones are for the new segment and the manifest.
        at=3 if operation == "sync_names" else 1,
    )
    with pytest.raises(inmem.StorageError):
        db.checkpoint()
    assert fault.struck.is_set()
    assert db._client.directory.supervisor.mailbox.actor._core.number == cores
    db.put("run", "k", 2)
    assert db.checkpoint() == 2
    db.put("run", "k", 3)
    close_and_compare(db, disk, [])
