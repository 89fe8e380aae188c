"""No file descriptors are left: what needs one is refused by name, everything else goes on, and nothing is lost."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import inmem
from inmem import StorageError, StoreFailedError
from inmem.actors.core.log_writer import LogWriter
from inmem.engine.log import group_commit
from tests.actors.workload import Worker, state_of
from tests.log_events import told

WHY = "Too many open files"


@contextmanager
def no_descriptors(spare: int = 0) -> Iterator[None]:
    """Let this process open no more files than that many: whatever number comes next is beyond its limit."""
    free = [os.open(os.devnull, os.O_RDONLY) for _ in range(spare + 1)]
    for descriptor in free:
        os.close(descriptor)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(params=["caller", "threads"])
def dispatcher(request):
    return request.param


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def check_reopened(db, path, worker):
    live, version = state_of(db), db.version
    db.close()
    with inmem.open(path) as again:
        assert (state_of(again), again.version) == (live, version)
        worker.check(again)
        assert again.verify().is_valid


def test_nothing_can_be_opened(tmp_path, dispatcher):
    with no_descriptors(), pytest.raises(StorageError, match=WHY):
        inmem.open(tmp_path / "db", dispatcher=dispatcher)
    with inmem.open(tmp_path / "db", dispatcher=dispatcher) as db:
        db.put("run", "k", 1)
    with no_descriptors(), pytest.raises(StorageError, match=WHY):
        inmem.open(tmp_path / "db", dispatcher=dispatcher)
    with inmem.open(tmp_path / "db") as db:
        assert db.get("run", "k") == 1


@pytest.mark.parametrize("spare", range(6))
def test_an_opening_that_fails_half_way_lets_go_of_what_it_had(tmp_path, dispatcher, spare):
    with inmem.open(tmp_path / "db", dispatcher=dispatcher) as db:
        db.put("run", "k", 1)
        db.checkpoint()
        db.put("run", "k", 2)
    before = descriptors()
    with no_descriptors(spare):
        try:
            inmem.open(tmp_path / "db", dispatcher=dispatcher).close()
        except StorageError as error:
            refused = str(error)
        else:
            refused = WHY
    assert WHY in refused
    assert descriptors() == before
    with inmem.open(tmp_path / "db", dispatcher=dispatcher) as db:
        assert db.get("run", "k") == 2


def test_the_first_segment_has_to_wait(tmp_path, dispatcher):
    db = inmem.open(tmp_path / "db", dispatcher=dispatcher)
    worker = Worker(db, "ada")
    with no_descriptors():
        worker.do(2)
    assert [WHY in str(error) for error in worker.errors] == [True, True]
    assert db.version == 0
    worker.do(2)
    assert worker.acked == [2, 3]
    check_reopened(db, tmp_path / "db", worker)


@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_a_running_store_commits_and_reads_without_any(tmp_path, dispatcher, durability):
    """Its segment is open; only what makes or reads other files is refused."""
    db = inmem.open(tmp_path / "db", dispatcher=dispatcher, durability=durability)
    worker = Worker(db, "ada")
    worker.do(2)
    with no_descriptors():
        worker.do(5)
        db.flush()
        assert db.get("ada", "00000006") == 6
        with pytest.raises(StorageError, match=WHY):
            db.checkpoint()
        with pytest.raises(StorageError, match=WHY):
            db.verify()
        worker.do(1)
    assert len(worker.acked) == 8
    assert db.checkpoint() == 8
    worker.do(1)
    check_reopened(db, tmp_path / "db", worker)


@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_a_segment_that_is_full_goes_on_without_any(tmp_path, monkeypatch, dispatcher, durability, events):
    """Its successor and the checkpoint have to wait, and nobody waits with them."""
    monkeypatch.setattr(group_commit, "SEGMENT_BYTES_MAX", 400)
    db = inmem.open(tmp_path / "db", dispatcher=dispatcher, durability=durability)
    worker = Worker(db, "ada")
    worker.do(2)
    refused = []
    not_rotated = LogWriter.not_rotated
    monkeypatch.setattr(LogWriter, "not_rotated", lambda *told: (refused.append(told), not_rotated(*told)))
    with no_descriptors():
        worker.do(20)
    assert refused
    worker.do(20)
    assert worker.errors == []
    assert db.checkpoint() == len(worker.acked) == 42
    check_reopened(db, tmp_path / "db", worker)
    # Closed by now, so that the last one that was refused has been told of too.
    told_of = told(events, "warning", "segment_refused")
    assert [fact["error"] for fact in told_of] == [str(error) for _, error in refused]
    assert all(WHY in fact["error"] for fact in told_of)


def test_a_store_that_is_rebuilt_meanwhile_serves_readers(tmp_path, dispatcher):
    """It may succeed with the descriptor that it gives up itself; what it cannot do it refuses by name."""
    db = inmem.open(tmp_path / "db", dispatcher=dispatcher)
    worker = Worker(db, "ada")
    worker.do(2)
    with no_descriptors():
        try:
            db.recover()
        except StoreFailedError as refused:
            worker.errors.append(refused)
        worker.do(1)
        assert db.get("ada", "00000001") == 1
    assert worker.errors
    assert all(WHY in str(error) for error in worker.errors)
    db.recover()
    worker.do(1)
    assert worker.acked == [0, 1, 3]
    check_reopened(db, tmp_path / "db", worker)
