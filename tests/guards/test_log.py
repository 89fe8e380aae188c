"""What a commit costs on disk: its share of a sync, and its bytes."""

import itertools
import os
import threading

import pytest

import inmem
from inmem.actors.dispatch.caller_dispatcher import CallerDispatcher
from inmem.actors.environment import SystemClock, SystemEntropy
from inmem.actors.files.folder_disk import FolderDisk
from inmem.actors.options import Options
from inmem.actors.system import start_supervisor
from inmem.engine.log.log_format import FRAME_HEADER_BYTES
from tests.actors.workload import until

COMMITS = 64


class CountingFile:
    """A file whose syncs can be held back, and are counted, as are the bytes."""

    def __init__(self, file, disk):
        self._file = file
        self._disk = disk

    @property
    def size(self):
        return self._file.size

    def append(self, data):
        self._disk.bytes += len(data)
        if len(data) == FRAME_HEADER_BYTES:
            self._disk.marks += 1
        else:
            self._disk.writes += 1
        self._file.append(data)

    def sync(self):
        self._disk.syncs += 1
        self._disk.syncing.set()
        assert self._disk.may_sync.wait(30)
        self._file.sync()

    def require_name(self):
        self._file.require_name()

    def close(self):
        self._file.close()


class CountingDisk(FolderDisk):
    def __init__(self, path):
        super().__init__(path, create=True, read_only=False)
        self.bytes = self.writes = self.marks = self.syncs = 0
        self.syncing = threading.Event()
        self.may_sync = threading.Event()
        self.may_sync.set()

    def create(self, name):
        return CountingFile(super().create(name), self)


@pytest.fixture
def opened(tmp_path):
    """Open a store on a counting disk; return its handle and the disk."""
    handles = []

    def opener(durability):
        disk = CountingDisk(str(tmp_path))
        options = Options.checked(tmp_path, durability=durability, sync_interval=3000)
        ref = start_supervisor(options, CallerDispatcher(), SystemClock(), SystemEntropy(), lambda: disk)
        db = inmem.connect(ref)
        handles.append((db, ref, disk))
        # The first commit creates the segment.
        db.put("r", "first", 0)
        disk.bytes = disk.writes = disk.marks = disk.syncs = 0
        return db, disk

    yield opener
    for db, ref, disk in handles:
        disk.may_sync.set()
        db.close()
        ref.stop()


def test_one_client_pays_one_sync_and_one_write_per_durable_commit(opened):
    db, disk = opened("always")
    for number in range(10):
        db.put("r", "k", number)
    assert (disk.syncs, disk.writes, disk.marks) == (10, 10, 10)


def test_commits_that_come_while_a_sync_runs_share_the_next_one(opened):
    db, disk = opened("always")
    disk.syncing.clear()
    disk.may_sync.clear()
    ahead = threading.Thread(target=db.put, args=("ahead", "k", 0))
    ahead.start()
    assert disk.syncing.wait(30)
    pending = [db.begin(f"run-{number}") for number in range(COMMITS)]
    threads = []
    for txn in pending:
        txn.put("k", 1)
        threads.append(threading.Thread(target=txn.commit))
        threads[-1].start()
    log_writer = db.directory.writer.mailbox.actor
    until(lambda: len(log_writer._group._pending) == COMMITS, "not all the commits reach the log writer")
    disk.may_sync.set()
    for thread in (ahead, *threads):
        thread.join(30)
    assert (disk.syncs, disk.writes, disk.marks) == (2, 2, 1)
    assert db.stats().group_sizes[COMMITS] == 1


def test_requests_to_one_primitive_that_come_while_a_commit_runs_share_the_next_one(opened):
    db, disk = opened("always")
    disk.syncing.clear()
    disk.may_sync.clear()
    ahead = db.events.futures.append("r", "ahead")
    assert disk.syncing.wait(30)
    futures = [db.events.futures.append("r", "agent", number) for number in range(COMMITS)]
    disk.may_sync.set()
    assert ahead.get(timeout=30).sequence == 0
    assert [future.get(timeout=30).sequence for future in futures] == list(range(1, COMMITS + 1))
    assert disk.syncs == 2


@pytest.mark.parametrize("durability", ["interval", "never"])
def test_weaker_modes_write_once_and_sync_nothing_within_a_commit(opened, durability):
    db, disk = opened(durability)
    for number in range(10):
        db.put("r", "k", number)
    assert (disk.syncs, disk.writes) == (0, 10)


def test_reads_aborts_and_empty_transactions_write_nothing(opened):
    db, disk = opened("always")
    db.get("r", "first")
    db.begin("r").abort()
    db.begin("r").commit()
    db.delete("r", "missing")
    assert (disk.bytes, disk.syncs) == (0, 0)


def test_a_small_commit_logs_no_more_than_seventy_bytes_beside_its_keys_and_values(opened):
    db, disk = opened("never")
    sizes = []
    for key, value in itertools.product(("k", "key" * 100), (1, "v" * 1000)):
        disk.bytes = 0
        db.put("run", key, value)
        sizes.append(disk.bytes - len("run") - len(key) - (len(value) if isinstance(value, str) else 1))
    assert max(sizes) <= 70


def test_each_further_key_of_a_transaction_logs_at_most_eight_bytes_beside_itself(opened):
    db, disk = opened("never")

    def logged(keys):
        disk.bytes = 0
        with db.begin("run") as txn:
            for number in range(keys):
                txn.put(f"{number:06}", 1)
        return disk.bytes

    assert (logged(1010) - logged(1000)) / 10 <= len("000000") + 1 + 8


def test_a_sync_looks_for_the_name_of_its_file_and_not_at_the_file(tmp_path, monkeypatch):
    """A look at it makes the next sync half as dear again: since Linux 6.13 the write in between records a new time."""
    looks = []
    with inmem.open(tmp_path / "db") as db:
        db.put("run", "k", 0)
        fstat = os.fstat
        monkeypatch.setattr("inmem.actors.files.log_file.os.fstat", lambda *args: looks.append(args) or fstat(*args))
        for number in range(10):
            db.put("run", "k", number)
        assert not looks
