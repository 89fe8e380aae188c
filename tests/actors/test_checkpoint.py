"""Checkpoints bound the log, beside the commits, and a crash at any step of one loses nothing."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import inmem
from inmem import Database
from inmem.actors.core.checkpointer import Checkpointer
from inmem.actors.files import log_file
from inmem.actors.messages.core import LogFlushed
from inmem.engine.log import group_commit
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, open_on, refused
from tests.actors.test_failpoints import Failpoint
from tests.actors.workload import Worker, check_no_hole, in_parallel, state_of
from tests.engine.memory_disk import content_of
from tests.log_events import SECRET, told

WORKERS = ("ada", "grace", "barbara")
DISPATCHERS = ("caller", "threads")


@pytest.fixture(params=DISPATCHERS)
def dispatcher(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def disk(tmp_path: Path) -> FaultyDisk:
    return FaultyDisk(tmp_path / "db")


@pytest.fixture
def db(disk: FaultyDisk, dispatcher: str) -> Iterator[Database]:
    with open_on(disk, dispatcher=dispatcher, shards=2) as opened:
        yield opened


def files(disk: FaultyDisk) -> set[str]:
    return set(disk.inner.names()) - {"LOCK", "MANIFEST"}


def test_by_call(db, disk):
    for n in range(5):
        db.put("run", "k", n)
    assert db.checkpoint() == 5
    assert files(disk) == {"000000000002.wal", "000000000002.checkpoint"}
    db.put("run", "k", 5)
    assert db.checkpoint() == 6
    assert files(disk) == {"000000000003.wal", "000000000003.checkpoint"}
    live = state_of(db)
    db.close()
    with inmem.open(disk.path) as again:
        assert state_of(again) == live
        assert again.put("run", "k", 6) == 7


def test_of_an_empty_database(db, disk):
    assert db.checkpoint() == 0
    assert db.checkpoint() == 0
    assert db.put("run", "k", 1) == 1
    db.close()
    with inmem.open(disk.path) as again:
        assert again.get("run", "k") == 1


def test_in_memory_there_is_nothing_to_write():
    with inmem.open(":memory:") as db:
        db.put("run", "k", 1)
        assert db.checkpoint() == 1


def test_by_size(disk, dispatcher, monkeypatch):
    monkeypatch.setattr(group_commit, "SEGMENT_BYTES_MAX", 2000)
    db = open_on(disk, dispatcher=dispatcher)
    workers = [Worker(db, name) for name in WORKERS]
    in_parallel(*(lambda worker=worker: worker.do(30) for worker in workers))
    db.close()
    written = [name for operation, name in disk.history if operation == "rename" and name != "MANIFEST"]
    assert len(written) >= 3
    assert not any(worker.errors for worker in workers)
    # One checkpoint, and the segments since.
    left = files(disk)
    assert len([name for name in left if name.endswith(".checkpoint")]) == 1
    assert min(name for name in left if name.endswith(".wal")).split(".")[0] == max(written).split(".")[0]
    with inmem.open(disk.path) as again:
        for worker in workers:
            worker.check(again)
        check_no_hole(again, list(WORKERS))


def test_openings_do_not_fill_the_folder(tmp_path, dispatcher, monkeypatch):
    """Each opening that writes adds a segment; before there are many, one begins with a checkpoint."""
    monkeypatch.setattr(group_commit, "SEGMENTS_MAX", 4)
    path = tmp_path / "db"
    checkpoints = set()
    for number in range(20):
        with inmem.open(path, dispatcher=dispatcher) as db:
            assert db.kv.list("run") == sorted(f"k{before}" for before in range(number))
            db.put("run", f"k{number}", number)
        names = [file.name for file in path.iterdir()]
        assert len([name for name in names if name.endswith(".wal")]) <= 4 + 1
        checkpoints |= {name for name in names if name.endswith(".checkpoint")}
    assert len(checkpoints) == 3


def test_the_next_opening_gives_back_the_room_that_a_killed_one_had_claimed(tmp_path, dispatcher):
    with inmem.open(tmp_path / "db", dispatcher=dispatcher) as db:
        db.put("run", "k", 1)
        shutil.copytree(tmp_path / "db", tmp_path / "killed")
    (segment,) = (tmp_path / "killed").glob("*.wal")
    assert segment.stat().st_size >= log_file.RESERVE_BYTES
    with inmem.open(tmp_path / "killed", dispatcher=dispatcher) as db:
        assert segment.stat().st_size < 1000
        assert db.get("run", "k") == 1


def test_commits_go_on_while_one_is_written(db, disk):
    """It holds what was there when it began; what comes meanwhile is in the log on top."""
    db.put("run", "before", 1)
    gate = disk.gate("append", ".checkpoint.tmp")
    versions: list[int] = []
    checkpoint = threading.Thread(target=lambda: versions.append(db.checkpoint()), daemon=True)
    checkpoint.start()
    assert gate.arrived.wait(FAILSAFE_S)
    for n in range(20):
        db.put("run", f"during-{n}", n)
    assert db.flush() is None
    assert not versions
    gate.open()
    checkpoint.join(FAILSAFE_S)
    assert versions == [1]
    live = state_of(db)
    db.close()
    with inmem.open(disk.path) as again:
        assert state_of(again) == live


def test_who_asks_while_one_is_written_gets_one_with_what_they_had_committed(db, disk):
    db.put("run", "k", 1)
    gate = disk.gate("append", ".checkpoint.tmp")
    versions: dict[str, int] = {}

    def ask(name: str) -> threading.Thread:
        thread = threading.Thread(target=lambda: versions.update({name: db.checkpoint()}), daemon=True)
        thread.start()
        return thread

    threads = [ask("first")]
    assert gate.arrived.wait(FAILSAFE_S)
    db.put("run", "k", 2)
    threads.append(ask("second"))
    gate.open()
    for thread in threads:
        thread.join(FAILSAFE_S)
    assert versions["first"] >= 1
    assert versions["second"] == 2


def test_files_go_only_after_everything_is_durable(db, disk):
    db.put("run", "k", 1)
    db.checkpoint()
    db.put("run", "k", 2)
    start = len(disk.history)
    db.checkpoint()
    steps = disk.history[start:]
    content = steps.index(("sync", "000000000003.checkpoint.tmp"))
    rename = steps.index(("rename", "000000000003.checkpoint"))
    name = steps.index(("sync_names", ""), rename)
    removals = [position for position, (operation, _) in enumerate(steps) if operation == "remove"]
    assert content < rename < name < min(removals)
    assert [steps[position][1] for position in removals] == ["000000000002.checkpoint", "000000000002.wal"]
    assert steps.index(("sync_names", ""), max(removals)) > max(removals)
    segment = steps.index(("create", "000000000003.wal"))
    assert segment < content


def test_the_log_is_durable_before_the_checkpoint_gets_its_name(disk):
    """Not even `never` may leave a checkpoint that knows more than the log."""
    db = open_on(disk, durability="never")
    db.put("run", "k", 1)
    db.checkpoint()
    renamed = disk.history.index(("rename", "000000000002.checkpoint"))
    appended = disk.history.index(("append", "000000000001.wal"), disk.history.index(("sync", "000000000001.wal")))
    assert ("sync", "000000000001.wal") in disk.history[appended:renamed]
    db.close()


class CopyingDisk(FaultyDisk):
    """Copies the folder before its n-th operation: what a crash there would leave, were everything written durable."""

    def __init__(self, path: Path, copies: Path) -> None:
        super().__init__(path)
        self._copies = copies
        self.copying = False
        self.copied: list[Path] = []

    def fault(self, operation, name):
        if self.copying and operation not in {"names", "read"}:
            copy = self._copies / f"{len(self.copied):03}-{operation}"
            shutil.copytree(self.path, copy)
            self.copied.append(copy)
        return super().fault(operation, name)


def test_a_crash_before_any_step_loses_nothing(tmp_path):
    disk = CopyingDisk(tmp_path / "db", tmp_path / "copies")
    db = open_on(disk)
    db.put("run", "k", 1)
    db.checkpoint()
    for n in range(3):
        db.put("run", f"k{n}", n)
    live, version = state_of(db), db.version
    disk.copying = True
    db.checkpoint()
    disk.copying = False
    assert len(disk.copied) >= 10
    for copy in disk.copied:
        for _ in range(2):
            with inmem.open(copy) as again:
                assert state_of(again) == live, copy
                assert again.version == version
                assert again.verify().is_valid
        assert not list(copy.glob("*.tmp"))
        with inmem.open(copy) as again:
            again.put("run", "after", 1)
            again.checkpoint()
            assert len(list(copy.glob("*.checkpoint"))) == 1
    db.close()


def test_a_checkpoint_that_fails_is_told_and_what_it_leaves(db, disk, events):
    db.put("run", "k", SECRET)
    for removes in (True, False):
        disk.fail("append", refused, name_end=".checkpoint.tmp")
        if not removes:
            disk.fail("remove", refused, name_end=".checkpoint.tmp")
        with pytest.raises(inmem.StorageError):
            db.checkpoint()
        disk.repair()
    assert told(events, "info", "checkpoint_written") == []
    failed = told(events, "warning", "checkpoint_failed")
    assert failed == [{"version": 1, "error": "injected: input/output error"}] * 2
    (left,) = told(events, "warning", "temporary_file_left")
    assert left == {"name": "000000000003.checkpoint.tmp", "error": "injected: input/output error"}
    assert left["name"] in files(disk)
    assert db.checkpoint() == 1
    (written,) = told(events, "info", "checkpoint_written")
    (name,) = [name for name in files(disk) if name.endswith(".checkpoint")]
    assert written == {"version": 1, "bytes": len(content_of(disk.inner, name))}


def test_one_that_a_restart_has_cut_short_leaves_no_file(db, disk, monkeypatch):
    db.put("run", "k", 1)
    failpoint = Failpoint(monkeypatch, Checkpointer)
    failpoint.arm(LogFlushed, "before")
    # Asked for again after the restart.
    assert db.checkpoint() == 1
    assert failpoint.fired.is_set()
    assert ("create", "000000000002.checkpoint.tmp") in disk.history
    assert files(disk) == {"000000000003.wal", "000000000003.checkpoint"}


@pytest.mark.parametrize("operation", ["create", "append", "sync_names", "rename", "remove"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_error_at_any_step_leaves_a_store_that_goes_on(db, disk, operation, at):
    db.put("run", "k", 1)
    db.checkpoint()
    db.put("run", "k", 2)
    fault = disk.fail(operation, refused, at=at)
    try:
        db.checkpoint()
    except inmem.StorageError:
        assert fault.struck.is_set()
    disk.repair()
    db.put("run", "k", 3)
    live = state_of(db)
    assert db.checkpoint() == 3
    assert len([name for name in files(disk) if name.endswith(".checkpoint")]) == 1
    assert not [name for name in files(disk) if name.endswith(".checkpoint.tmp")]
    db.close()
    with inmem.open(disk.path) as again:
        assert state_of(again) == live


@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_flush_in_every_mode(disk, dispatcher, durability):
    db = open_on(disk, dispatcher=dispatcher, durability=durability, sync_interval=3000)
    db.flush()
    for n in range(3):
        db.put("run", f"k{n}", n)
    segment = "000000000001.wal"
    syncs = [step for step in disk.history if step == ("sync", segment)]
    # One is for the header.
    assert len(syncs) == (4 if durability == "always" else 1)
    db.flush()
    # Behind the last sync there is the mark that tells of it, and no commit.
    last_sync = max(position for position, step in enumerate(disk.history) if step == ("sync", segment))
    assert disk.history[last_sync:].count(("append", segment)) == 1
    assert disk.history[:last_sync].count(("append", segment)) == (6 if durability == "always" else 4)
    calls = disk.counts["sync"]
    db.flush()
    assert disk.counts["sync"] == calls
    db.close()


def test_the_timer_of_interval_mode_syncs(disk, dispatcher):
    db = open_on(disk, dispatcher=dispatcher, durability="interval", sync_interval=0.001)
    for n in range(3):
        gate = disk.gate("sync", ".wal")
        if n == 0:
            gate.open()
        db.put("run", "k", n) if n else db.kv.futures.put("run", "k", n).get(timeout=FAILSAFE_S)
        assert gate.arrived.wait(FAILSAFE_S)
        gate.open()
    db.close()


def test_what_is_written_while_the_timer_syncs_is_synced_by_the_timer_too(disk, dispatcher):
    db = open_on(disk, dispatcher=dispatcher, durability="interval", sync_interval=0.001)
    db.put("run", "first", 1)
    gate = disk.gate("sync", ".wal")
    db.put("run", "second", 1)
    assert gate.arrived.wait(FAILSAFE_S)
    db.put("run", "during the sync", 1)
    gate.open()
    last_append = max(position for position, (operation, _) in enumerate(disk.history) if operation == "append")
    follow_up = disk.gate("sync", ".wal")
    if ("sync", "000000000001.wal") not in disk.history[last_append + 2 :]:
        assert follow_up.arrived.wait(FAILSAFE_S)
    follow_up.open()
    db.close()


def test_the_interval_mode_acknowledges_before_the_sync(disk, dispatcher):
    db = open_on(disk, dispatcher=dispatcher, durability="interval", sync_interval=0.001)
    db.put("run", "first", 1)
    gate = disk.gate("sync", ".wal")
    for n in range(10):
        db.put("run", "k", n)
    assert gate.arrived.wait(FAILSAFE_S)
    gate.open()
    db.close()
