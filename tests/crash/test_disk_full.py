"""A full disk: the commit is aborted whole, nothing is half-written, and there is no damage to repair afterwards."""

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import inmem
from inmem import Database, DiskFullError, StorageError
from inmem.actors.files.folder_disk import FolderDisk
from tests.actors.faulty_disk import FaultyDisk, disk_full, open_on
from tests.actors.workload import Worker, in_parallel, state_of
from tests.engine.memory_disk import content_of

BIG = "x" * 8192


@pytest.fixture
def disk(tmp_path: Path) -> FaultyDisk:
    return FaultyDisk(tmp_path / "db")


def check_reopened(db: Database, path: str) -> None:
    live, version = state_of(db), db.version
    db.close()
    for _ in range(2):
        with inmem.open(path) as again:
            assert state_of(again) == live
            assert again.version == version
            assert again.verify().is_valid
    assert not [file for file in Path(path).iterdir() if "torn" in file.name or file.suffix == ".tmp"]


@pytest.mark.parametrize("durability", ["always", "interval", "never"])
@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_no_room_for_a_commit(disk, dispatcher, durability):
    db = open_on(disk, dispatcher=dispatcher, durability=durability)
    db.put("run", "before", 1)
    disk.fail("append", disk_full, forever=True)
    txn = db.begin("run")
    txn.put("a", 1)
    txn.on("other").kv.put("b", 1)
    with pytest.raises(DiskFullError) as full:
        txn.commit()
    assert full.value.retryable
    assert txn.status == "aborted"
    with pytest.raises(DiskFullError):
        db.events.append("run", "type", 1)
    assert (db.get("run", "a"), db.get("other", "b"), db.events.len("run")) == (None, None, 0)
    assert db.get("run", "before") == 1
    assert db.version == 1
    disk.repair()
    assert db.put("run", "a", 2) == 2
    check_reopened(db, disk.path)


def test_no_room_for_some_of_many(disk):
    db = open_on(disk)
    workers = [Worker(db, f"worker-{n}") for n in range(4)]
    disk.fail("append", disk_full, at=5)
    disk.fail("append", disk_full, at=9)
    in_parallel(*(lambda worker=worker: worker.do(10) for worker in workers))
    errors = [error for worker in workers for error in worker.errors]
    assert errors
    assert {type(error) for error in errors} == {DiskFullError}
    for worker in workers:
        worker.check(db)
    check_reopened(db, disk.path)


@pytest.mark.parametrize("operation", ["create", "append"])
def test_no_room_for_the_first_segment(disk, operation):
    db = open_on(disk)
    disk.fail(operation, disk_full)
    with pytest.raises(DiskFullError):
        db.put("run", "k", 1)
    assert db.put("run", "k", 2) == 1
    check_reopened(db, disk.path)


@pytest.mark.parametrize("operation", ["create", "append"])
def test_no_room_for_the_next_segment(disk, operation, monkeypatch):
    from inmem.engine.log import group_commit

    db = open_on(disk)
    db.put("run", "k", 1)
    monkeypatch.setattr(group_commit, "SEGMENT_BYTES_MAX", 80)
    fault = disk.fail(operation, disk_full)
    # The one that is open is long enough, and goes on.
    assert db.put("run", "k", 2) == 2
    assert fault.struck.is_set()
    assert db.put("run", "k", 3) == 3
    check_reopened(db, disk.path)


@pytest.mark.parametrize(
    ("operation", "name_end"),
    [
        ("create", ".checkpoint.tmp"),
        ("append", ".checkpoint.tmp"),
        ("create", ".wal"),
        ("create", "MANIFEST.tmp"),
        ("append", "MANIFEST.tmp"),
    ],
)
def test_no_room_for_a_checkpoint(disk, operation, name_end):
    db = open_on(disk)
    db.put("run", "k", 1)
    disk.fail(operation, disk_full, name_end=name_end)
    with pytest.raises(DiskFullError):
        db.checkpoint()
    assert db.put("run", "k", 2) == 2
    assert db.checkpoint() == 2
    check_reopened(db, disk.path)


class TestFile:
    """The real file, on an operating system that takes less than it was given."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Iterator[FolderDisk]:
        folder = FolderDisk(str(tmp_path / "db"))
        yield folder
        folder.close()

    def test_short_writes_are_continued(self, folder, monkeypatch):
        file = folder.create("f")
        write = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:3]))
        file.append(b"0123456789")
        assert file.size == 10
        assert content_of(folder, "f") == b"0123456789"
        file.close()

    @pytest.mark.parametrize("at", [1, 2, 3])
    @pytest.mark.parametrize(
        ("number", "expected"),
        [
            (errno.ENOSPC, DiskFullError),
            (errno.EDQUOT, DiskFullError),
            (errno.EFBIG, DiskFullError),
            (errno.EIO, StorageError),
        ],
    )
    def test_a_failed_write_leaves_nothing(self, folder, monkeypatch, number, expected, at):
        file = folder.create("f")
        file.append(b"before")
        real_write, calls = os.write, iter(range(1, 100))

        def write(descriptor: int, data: Any) -> int:
            if next(calls) == at:
                raise OSError(number, os.strerror(number))
            return real_write(descriptor, bytes(data)[:3])

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            with pytest.raises(expected):
                file.append(b"0123456789")
        assert file.size == 6
        assert content_of(folder, "f") == b"before"
        file.append(b", after")
        assert content_of(folder, "f") == b"before, after"
        file.close()

    def test_what_cannot_be_cut_back_is_no_ordinary_error(self, folder, monkeypatch):
        file = folder.create("f")

        def fail(*_: Any) -> Any:
            raise OSError(errno.EIO, "injected")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", fail)
            patch.setattr(os, "fsync", fail)
            with pytest.raises(OSError, match="injected"):
                file.append(b"data")
        file.close()

    def test_the_note_in_the_lock_is_dispensable(self, tmp_path, monkeypatch):
        def full(*_: Any) -> Any:
            raise OSError(errno.ENOSPC, "injected")

        monkeypatch.setattr(os, "pwrite", full)
        for _ in range(2):
            FolderDisk(str(tmp_path / "db")).close()

    def test_missing_parents_are_made_durably(self, tmp_path, monkeypatch):
        synced: list[str] = []
        fsync = os.fsync

        def note(descriptor: int) -> None:
            synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", note)
        FolderDisk(str(tmp_path / "a" / "b" / "db")).close()
        assert synced[:3] == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]


FILE_SIZE_LIMIT = """
import resource, sys
import inmem

db = inmem.open(sys.argv[1], durability=sys.argv[2])
db.put("run", "before", 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
written = 0
try:
    for n in range(100):
        db.transaction("run", lambda txn: (txn.put(f"a{n}", "x" * 900), txn.put(f"b{n}", n)))
        written += 1
except inmem.DiskFullError:
    print("full", written)
assert db.get("run", f"a{written}") is None and db.get("run", f"b{written}") is None
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert db.put("run", "after", 1) == db.version == written + 2
db.close()
print("closed")
"""


@pytest.mark.parametrize("durability", ["always", "never"])
def test_a_file_size_limit(tmp_path, durability):
    done = subprocess.run(
        [sys.executable, "-c", FILE_SIZE_LIMIT, str(tmp_path / "db"), durability],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    full, closed = done.stdout.splitlines()
    written = int(full.split()[1])
    assert (written, closed) == (pytest.approx(20, abs=5), "closed")
    with inmem.open(tmp_path / "db") as db:
        assert len(db.kv.list("run", "a")) == written + 1
        assert len(db.kv.list("run", "b")) == written + 1
        assert db.verify().is_valid


@pytest.fixture
def small_file_system() -> Iterator[Path]:
    """A tmpfs of 256 KiB: mounted by root only."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder]
        try:
            done = subprocess.run(mount, capture_output=True, text=True, timeout=30, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode:
            pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], timeout=30, check=True)


def fill(db: Database) -> int:
    """Commit until the disk is full; return how many commits it took."""
    for n in range(1000):
        try:
            db.transaction("run", lambda txn, n=n: (txn.put(f"a{n:04}", BIG), txn.put(f"b{n:04}", n)))
        except DiskFullError:
            return n
    raise AssertionError("there is room without end")


@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_a_file_system_that_fills_up(small_file_system, durability):
    path = small_file_system / "db"
    ballast = small_file_system / "ballast"
    ballast.write_bytes(bytes(100 * 1024))
    db = inmem.open(path, durability=durability)
    written = fill(db)
    assert written > 5
    assert len(db.kv.list("run", "a")) == len(db.kv.list("run", "b")) == written
    with pytest.raises(StorageError):
        db.checkpoint()
    ballast.unlink()
    db.put("run", "after", BIG)
    check_reopened(db, str(path))


def test_a_full_file_system_can_be_opened_and_read(small_file_system):
    path = small_file_system / "db"
    with inmem.open(path) as db:
        db.put("run", "k", 1)
    ballast = small_file_system / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1024)):
            pass
    with inmem.open(path) as db:
        assert db.get("run", "k") == 1
        with pytest.raises(DiskFullError):
            db.put("run", "k", BIG)
        ballast.unlink()
        db.put("run", "k", BIG)
