"""The supervisor replaces what fails; whoever holds a handle notices a pause at most."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import inmem
from inmem import (
    ConflictError,
    Database,
    DatabaseClosedError,
    StorageError,
    StoreFailedError,
    TransactionAbortedError,
)
from inmem.actors import restart_limit
from inmem.actors.core.coordinator import Coordinator
from inmem.actors.core.fileless_log_writer import FilelessLogWriter
from inmem.actors.core.log_writer import LogWriter
from inmem.actors.messages.core import Append, Flush
from inmem.actors.messages.transactions import ReadStats
from inmem.actors.proxies.kv import KVStore
from inmem.engine.commits.commit_token import CommitToken
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, disk_full, io_error, open_on, refused
from tests.actors.test_failpoints import BrokenError, Failpoint
from tests.actors.workload import Worker, in_parallel, state_of
from tests.log_events import SECRET, raised, told


@pytest.fixture(params=["caller", "threads"])
def dispatcher(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def disk(tmp_path: Path) -> FaultyDisk:
    return FaultyDisk(tmp_path / "db")


@pytest.fixture
def db(disk: FaultyDisk, dispatcher: str) -> Iterator[Database]:
    with open_on(disk, dispatcher=dispatcher, shards=2) as opened:
        yield opened


@pytest.fixture(params=["disk", "memory"])
def any_db(request: pytest.FixtureRequest, tmp_path: Path, dispatcher: str) -> Iterator[Database]:
    path = tmp_path / "db" if request.param == "disk" else ":memory:"
    with inmem.open(path, dispatcher=dispatcher, shards=2) as opened:
        yield opened


def actor_behind(db: Database, name: str) -> Any:
    return db._client.directory.mailboxes[name].mailbox.actor


def test_a_restart_goes_on_where_the_log_ends(any_db):
    assert any_db.put("run", "a", 1) == 1
    assert any_db.put("run", "b", 2) == 2
    before = state_of(any_db)
    coordinator = actor_behind(any_db, "coordinator")
    any_db.recover()
    assert actor_behind(any_db, "coordinator") is not coordinator
    assert state_of(any_db) == before
    assert any_db.put("run", "c", 3) == 3
    assert any_db.get_versioned("run", "a").version == 1
    assert any_db.begin("run").id > 0


def test_a_restart_says_why(any_db, monkeypatch, events):
    any_db.recover()
    failpoint = Failpoint(monkeypatch, Coordinator)
    failpoint.arm(ReadStats, "before")
    with pytest.raises(TransactionAbortedError):
        any_db.stats()
    # Takes part in the restart that is under way, or asks for another.
    any_db.recover()
    asked, failed, *_ = told(events, "warning", "restarted")
    assert asked["because"] == "somebody asked for it"
    assert "Coordinator over ReadStats" in failed["because"]


def test_transaction_ids_are_not_given_twice(any_db):
    ids = [any_db.begin("run").id]
    any_db.recover()
    ids.append(any_db.begin("run").id)
    assert ids[1] > ids[0]


def test_transactions_that_were_running_commit_or_conflict_as_ever(any_db):
    any_db.put("run", "read", 1)
    fine = any_db.begin("run")
    assert fine.get("read") == 1
    fine.put("fine", 1)
    reader = any_db.begin("run")
    reader.get("changed")
    reader.put("reader", 1)
    blind = any_db.begin("run")
    blind.put("changed", "blind")
    swap = any_db.begin("run")
    swap.cas("read", 1, 2)
    any_db.put("run", "changed", "by another")
    any_db.recover()
    fine.commit()
    with pytest.raises(ConflictError):
        reader.commit()
    with pytest.raises(ConflictError):
        blind.commit()
    swap.commit()
    assert any_db.get("run", "fine") == 1
    assert any_db.get("run", "changed") == "by another"
    assert any_db.get("run", "read") == 2


def test_what_began_before_a_run_was_deleted_cannot_bring_it_back_after_a_restart(any_db):
    any_db.begin_run("doomed")
    any_db.put("doomed", "k", 1)
    blind = any_db.begin("doomed")
    blind.put("new", 1)
    missing = any_db.begin("doomed")
    missing.get("never there")
    missing.events.append("type", 1)
    any_db.runs.delete_run("doomed")
    any_db.recover()
    with pytest.raises(ConflictError):
        blind.commit()
    with pytest.raises(ConflictError):
        missing.commit()
    assert any_db.kv.list("doomed") == []
    assert any_db.events.len("doomed") == 0


def fail_over_the_next_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the coordinator fail over it once: when it has been published, and before it is answered."""
    armed = [True]

    def fail_once(self: Coordinator, *commit: Any) -> None:
        if armed:
            armed.clear()
            raise BrokenError
        committed(self, *commit)

    committed = Coordinator.committed
    monkeypatch.setattr(Coordinator, "committed", fail_once)


def test_a_deletion_answered_after_a_restart_is_remembered_when_the_log_does_not_tell_of_it(any_db, monkeypatch):
    any_db.begin_run("doomed")
    blind = any_db.begin("doomed")
    blind.put("new", 1)
    fail_over_the_next_commit(monkeypatch)
    any_db.runs.delete_run("doomed")
    # Where there is a log, this takes the deletion out of it.
    any_db.checkpoint()
    any_db.recover()
    with pytest.raises(ConflictError):
        blind.commit()
    assert any_db.kv.list("doomed") == []


def test_a_commit_answered_after_a_restart_counts(any_db, monkeypatch):
    any_db.put("run", "a", 1)
    fail_over_the_next_commit(monkeypatch)
    assert any_db.put("run", "b", 1) == 2
    assert any_db.stats().commits == 2
    assert any_db.stats().aborts == 0


class Truncated:
    """A database that loses commits while it is open, as the weaker modes may when the machine fails."""

    def __init__(self, path: Path, dispatcher: str) -> None:
        self.db = inmem.open(path, durability="never", dispatcher=dispatcher)
        self._path = path
        self._kept = b""

    def keep(self) -> None:
        """What has been committed so far will not be lost."""
        (segment,) = self._path.glob("*.wal")
        self._kept = segment.read_bytes()

    def lose(self) -> None:
        """Lose all that has been committed since, and have it noticed."""
        *_, segment = sorted(self._path.glob("*.wal"))
        with segment.open("r+b") as file:
            file.write(self._kept)
            file.truncate()
        self.db.recover()


@pytest.fixture
def truncated(tmp_path: Path, dispatcher: str) -> Iterator[Truncated]:
    truncated = Truncated(tmp_path / "db", dispatcher)
    with truncated.db:
        yield truncated


def test_what_has_seen_something_lost_is_aborted_after_any_number_of_restarts(truncated):
    db = truncated.db
    db.put("run", "kept", 1)
    truncated.keep()
    db.put("run", "x", "lost")
    db.put("run", "y", "lost too")
    late = db.begin("run")
    late.put("copy", late.get("x"))
    truncated.lose()
    assert db.get("run", "x") is None
    db.put("other", "k", 1)
    db.recover()
    with pytest.raises(TransactionAbortedError, match="lost part of what it had seen"):
        late.commit()
    assert db.kv.list("run") == ["kept"]


def test_what_has_seen_a_deletion_that_was_lost_is_aborted_after_any_number_of_restarts(truncated):
    """No key that it has seen is newer than its snapshot: only the restarts can tell."""
    db = truncated.db
    db.put("run", "deleted", 1)
    truncated.keep()
    db.delete("run", "deleted")
    late = db.begin("run", isolation="serializable")
    late.put("count", len(list(late.scan(""))))
    truncated.lose()
    for number in range(3):
        db.put("other", "k", number)
        db.recover()
    with pytest.raises(TransactionAbortedError, match="lost part of what it had seen"):
        late.commit()
    assert db.kv.list("run") == ["deleted"]


def test_what_began_after_a_loss_commits_however_often_the_same_loss_is_found(truncated):
    db = truncated.db
    db.put("run", "kept", 1)
    truncated.keep()
    db.put("run", "x", "lost")
    truncated.lose()
    fine = db.begin("run")
    fine.put("sum", fine.get("kept"))
    for _ in range(3):
        db.recover()
    assert fine.commit() == 4
    assert db.kv.list("run") == ["kept", "sum"]


def test_counters_and_running_transactions_survive(any_db):
    any_db.put("run", "k", 1)
    loser = any_db.begin("run")
    loser.put("k", 2)
    any_db.put("run", "k", 3)
    with pytest.raises(ConflictError):
        loser.commit()
    running = any_db.begin("run")
    before = any_db.stats()
    any_db.recover()
    after = any_db.stats()
    assert (after.commits, after.aborts, after.conflicts) == (before.commits, before.aborts, before.conflicts)
    assert after.group_sizes == before.group_sizes
    assert after.active_transactions == 1
    assert after.oldest_snapshot_version == before.oldest_snapshot_version
    running.abort()
    assert any_db.stats().active_transactions == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_is_answered_by_what_the_log_proves(db, monkeypatch, when):
    """Before the write nothing of it is in the log, after it everything is."""
    db.put("run", "first", 1)
    failpoint = Failpoint(monkeypatch, LogWriter)
    failpoint.arm(Append, when)
    txn = db.begin("run")
    txn.put("k", "v")
    if when == "before":
        with pytest.raises(TransactionAbortedError):
            txn.commit()
        assert db.get("run", "k") is None
        assert db.version == 1
    else:
        assert txn.commit() == 2
        assert db.get("run", "k") == "v"
    assert failpoint.fired.wait(FAILSAFE_S)
    assert db.stats().active_transactions == 0
    assert db.put("run", "next", 1) == db.version


@pytest.mark.parametrize("when", ["before", "after"])
def test_in_memory_what_is_not_published_did_not_happen(monkeypatch, when):
    with inmem.open(":memory:") as db:
        db.put("run", "first", 1)
        failpoint = Failpoint(monkeypatch, FilelessLogWriter)
        failpoint.arm(Append, when)
        txn = db.begin("run")
        txn.put("k", "v")
        with pytest.raises(TransactionAbortedError):
            txn.commit()
        assert db.get("run", "k") is None
        assert db.stats().active_transactions == 0
        assert db.put("run", "next", 1) == 2


def test_a_primitive_actor_is_replaced_alone(any_db, monkeypatch):
    # Under `threads` each actor arrives behind its address in its own time, the first message to it at the latest.
    for number in range(8):
        any_db.kv.put(f"for either shard {number}", "k", 0)
    any_db.events.futures.len("run").get(timeout=FAILSAFE_S)
    core = {name: actor_behind(any_db, name) for name in ("coordinator", "log-writer", "shard-0", "events")}
    failing = actor_behind(any_db, "kv")
    failpoint = Failpoint(monkeypatch, type(failing))
    failpoint.arm(inmem.messages.PutKey, "before")
    with pytest.raises(TransactionAbortedError):
        any_db.kv.put("run", "k", 1)
    any_db.kv.put("run", "k", 2)
    assert actor_behind(any_db, "kv") is not failing
    assert {name: actor_behind(any_db, name) for name in core} == core


def test_two_actors_that_fail_at_once_make_one_restart_and_owe_nothing(disk, monkeypatch):
    """The log writer fails with a flush in its books before the supervisor has heard of the coordinator."""
    db = open_on(disk, durability="never")
    in_writer, in_coordinator = Failpoint(monkeypatch, LogWriter), Failpoint(monkeypatch, Coordinator)
    db.put("run", "k", 1)
    supervisor = db._client.directory.supervisor.mailbox.actor
    cores = supervisor._core.number
    in_writer.arm(Flush, "after")
    in_coordinator.arm(ReadStats, "after")
    dispatcher = db._client.directory.dispatcher
    with dispatcher._running:
        stats = db._client.directory.coordinator.ask(ReadStats(), block=False)
        flush = db._client.directory.writer.ask(Flush(), block=False)
    flush.get(timeout=FAILSAFE_S)
    with pytest.raises(TransactionAbortedError):
        stats.get(timeout=FAILSAFE_S)
    assert in_writer.fired.is_set()
    assert in_coordinator.fired.is_set()
    db.put("run", "k", 2)
    assert supervisor._core.number == cores + 1
    db.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_restarts_leave_no_descriptors_behind(db, disk, monkeypatch):
    monkeypatch.setattr(restart_limit, "RESTARTS_MAX", 10_000)
    db.put("run", "k", 0)
    db.recover()
    before = descriptors()
    for n in range(10):
        db.put("run", "k", n)
        db.recover()
    assert descriptors() == before


@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_a_failing_close_is_reported_and_complete(disk, dispatcher, durability):
    db = open_on(disk, dispatcher=dispatcher, durability=durability, sync_interval=3000)
    for n in range(3):
        db.put("run", f"k{n}", n)
    disk.fail("sync", io_error, forever=True)
    with pytest.raises(StorageError, match="durable"):
        db.close()
    db.close()
    with pytest.raises(DatabaseClosedError):
        db.put("run", "k", 1)
    assert not disk.violations
    with inmem.open(disk.path) as again:
        assert again.kv.list("run") == ["k0", "k1", "k2"]


def test_a_close_on_a_full_disk_needs_no_room(disk, dispatcher):
    """Only the mark of a clean close is missing; what it would have vouched for is durable."""
    db = open_on(disk, dispatcher=dispatcher, durability="never")
    db.put("run", "k", 1)
    disk.fail("append", disk_full, forever=True)
    syncs = disk.counts["sync"]
    db.close()
    assert disk.counts["sync"] > syncs
    with inmem.open(disk.path) as again:
        assert again.get("run", "k") == 1


def test_a_failed_store_that_had_promised_too_early_says_so_when_closed(disk):
    db = open_on(disk, durability="never")
    db.put("run", "k", 1)
    disk.fail("sync", io_error, forever=True)
    with pytest.raises(StoreFailedError):
        db.flush()
    with pytest.raises(StoreFailedError):
        db.close()


def test_close_waits_for_a_checkpoint_that_is_being_written(db, disk):
    """Once closed, the folder is somebody else's: no thread of this store may touch it any more."""
    db.put("run", "k", 1)
    gate = disk.gate("rename", ".checkpoint")
    versions: list[int] = []
    checkpoint = threading.Thread(target=lambda: versions.append(db.checkpoint()), daemon=True)
    checkpoint.start()
    assert gate.arrived.wait(FAILSAFE_S)
    other = inmem.connect(db._client.directory.supervisor)
    closing = threading.Thread(target=db.close, daemon=True)
    closing.start()
    gate.open()
    closing.join(FAILSAFE_S)
    checkpoint.join(FAILSAFE_S)
    assert not closing.is_alive()
    assert versions == [1]
    calls = len(disk.history)
    with inmem.open(disk.path) as again:
        assert again.get("run", "k") == 1
    assert len(disk.history) == calls
    other.close()


def test_callers_that_come_too_late_are_told(db):
    other = inmem.connect(db._client.directory.supervisor)
    db.put("run", "k", 1)
    db.close()
    for late in (other.flush, other.checkpoint, other.stats, lambda: other.put("run", "k", 2)):
        with pytest.raises(DatabaseClosedError):
            late()


def test_closing_amid_traffic_answers_everybody(disk, dispatcher):
    db = open_on(disk, dispatcher=dispatcher)
    others = [inmem.connect(db._client.directory.supervisor) for _ in range(4)]
    workers = [Worker(other, f"worker-{n}") for n, other in enumerate(others)]
    started = threading.Barrier(len(workers) + 1)

    def work(worker: Worker) -> Callable[[], None]:
        def run() -> None:
            started.wait(FAILSAFE_S)
            while not worker.errors:
                worker.do(1)
                worker.db.kv.futures.put("futures", worker.name, 1)

        return run

    def close() -> None:
        started.wait(FAILSAFE_S)
        db.close()

    in_parallel(*map(work, workers), close)
    with inmem.open(disk.path) as again:
        for worker in workers:
            worker.check(again)


def test_an_opening_that_fails_lets_go_of_the_folder(disk, dispatcher):
    db = open_on(disk, dispatcher=dispatcher)
    db.put("run", "k", 1)
    db.close()
    (Path(disk.path) / "000000000009.checkpoint.tmp").write_bytes(b"left behind")
    for operation, error in [("read", refused), ("remove", refused), ("sync_names", io_error)]:
        failing = FaultyDisk(Path(disk.path))
        failing.fail(operation, error)
        with pytest.raises(StorageError):
            open_on(failing, dispatcher=dispatcher)
    with inmem.open(disk.path) as again:
        assert again.get("run", "k") == 1


def test_a_superfluous_file_that_cannot_be_removed_keeps_nobody_from_writing(db, disk, events):
    db.put("run", "k", 1)
    left = Path(disk.path) / "000000000009.checkpoint.tmp"
    left.write_bytes(b"left behind")
    disk.fail("remove", refused)
    db.recover()
    assert db.put("run", "k", 2) == 2
    assert [fact["file"] for fact in told(events, "warning", "file_not_removed")] == [left.name]
    db.close()
    with inmem.open(disk.path) as again:
        assert again.get("run", "k") == 2
    assert not left.exists()


def test_whatever_recovery_raises_the_callers_are_answered(db, disk, events):
    db.put("run", "k", SECRET)
    disk.fail("read", lambda: BrokenError("injected"))
    with pytest.raises(StoreFailedError):
        db.recover()
    with pytest.raises(StoreFailedError):
        db.put("run", "k", 2)
    assert db.get("run", "k") == SECRET
    (unusable,) = told(events, "warning", "log_unusable")
    assert raised(unusable, BrokenError)
    assert "injected" in unusable["error"]
    (failed,) = told(events, "warning", "failed")
    assert (failed["version"], failed["in_flight"]) == (1, 0)
    assert [event for _, event, _ in events] == ["log_unusable", "failed"]
    db.recover()
    assert [fact["version"] for fact in told(events, "warning", "restarted")] == [1]
    assert db.put("run", "k", 2) == 2


def test_a_failed_store_does_not_guess_outcomes(db, disk):
    """The commit is in the log but not known to be durable: until that is settled, neither answer would be true."""
    db.put("run", "k", 1)
    disk.fail("sync", io_error, forever=True)
    txn = db.begin("run")
    txn.put("k", 2)
    with pytest.raises(inmem.CommitOutcomeUnknownError) as unknown:
        txn.commit()
    with pytest.raises(StoreFailedError):
        db.outcome(unknown.value.token)
    disk.repair()
    db.recover()
    assert db.outcome(unknown.value.token) == "committed"
    assert db.get("run", "k") == 2
    db.close()
    with inmem.open(disk.path) as again:
        assert again.outcome(unknown.value.token) == "committed"
        again.checkpoint()
        assert again.outcome(unknown.value.token) == "committed"


def test_in_memory_outcomes_are_remembered_across_restarts(monkeypatch):
    with inmem.open(":memory:") as db:
        directory = db._client.directory
        salt = directory.supervisor.mailbox.actor._core.salt
        txn = db.begin("run")
        txn.put("k", 1)
        txn.commit()
        token = str(CommitToken(salt, txn.id, txn.start_version))
        assert db.outcome(token) == "committed"
        db.recover()
        assert db.outcome(token) == "committed"


def test_a_reader_beside_the_owner_can_be_recovered_too(tmp_path, dispatcher):
    with inmem.open(tmp_path / "db") as owner:
        owner.put("run", "k", 1)
        with inmem.open(tmp_path / "db", read_only=True, dispatcher=dispatcher) as reader:
            with pytest.raises(inmem.ReadOnlyError):
                reader.recover()
            assert reader.get("run", "k") == 1
            with pytest.raises(inmem.ReadOnlyError):
                reader.put("run", "k", 2)


def test_the_handle_of_a_primitive_stays_the_same(db):
    kv: KVStore = db.kv
    kv.put("run", "k", 1)
    db.recover()
    assert kv.get("run", "k") == 1
    assert kv.put("run", "k", 2) == 2
