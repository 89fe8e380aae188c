"""The real folder under an operating system that refuses; what only a whole store can show is in tests/crash."""

import contextlib
import errno
import os
import threading
from pathlib import Path

import pytest

import inmem
from inmem.actors.files.folder_disk import FolderDisk
from inmem.actors.files.folder_lock import FolderLock
from inmem.actors.files.log_file import LogFile
from inmem.engine.shown import shown_failure
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, disk_full, open_on
from tests.actors.workload import in_parallel
from tests.engine.memory_disk import content_of
from tests.log_events import SECRET, raised, told


def fail(*_):
    raise OSError(errno.EIO, "injected")


@pytest.fixture
def folder(tmp_path):
    folder = FolderDisk(str(tmp_path / "db"))
    yield folder
    folder.close()


class Struck(BaseException):
    """What a signal handler raises."""


@pytest.mark.parametrize("answer", [OSError(errno.EIO, "injected"), Struck()], ids=["error", "struck"])
@pytest.mark.parametrize("mode", ["append", "read"])
def test_a_descriptor_is_closed_once_whatever_close_answers(folder, monkeypatch, mode, answer):
    """After a close that fails, the number may be somebody else's: closing it again would be theirs."""
    file = folder.create("f")
    if mode == "read":
        file.close()
        file = folder.open("f")
    closed = []

    def close(descriptor):
        closed.append(descriptor)
        raise answer

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close)
        with contextlib.suppress(Struck):
            file.close()
        file.close()
        file.__del__()
    assert len(closed) == 1
    os.close(closed[0])


def test_readers_are_not_told_that_a_close_has_failed(tmp_path, monkeypatch):
    close = os.close

    def close_and_fail(descriptor):
        close(descriptor)
        fail()

    with inmem.open(tmp_path / "db") as db:
        db.put("run", "k", 1)
        with inmem.open(tmp_path / "db", read_only=True) as reader:
            db.put("run", "k", 2)
            with monkeypatch.context() as patch:
                patch.setattr(os, "close", close_and_fail)
                assert db.verify().is_valid
                assert reader.refresh() == 2
            assert reader.get("run", "k") == 2


def test_room_that_is_given_back_while_somebody_reads_stays_blank(folder):
    """A reader knows a segment's size before it reads, and its owner may close the segment in between."""
    segment = folder.create("000000000001.wal")
    segment.append(b"head")
    segment.append(b"frame")
    with folder.view() as view:
        file = view.open("000000000001.wal")
        size = file.size
        assert size > segment.size
        segment.close()
        assert view.open("000000000001.wal").size == segment.size
        assert file.read_at(0, size) == b"headframe".ljust(size, b"\x00")
        assert file.read_at(size - 10, 10) == bytes(10)


def test_a_close_that_fails_holds_no_file_open(tmp_path, monkeypatch):
    db = inmem.open(tmp_path / "db", durability="never")
    db.put("run", "k", 1)
    monkeypatch.setattr(LogFile, "sync", fail)
    with pytest.raises(inmem.StorageError, match="could not be made durable"):
        db.close()
    links = [descriptor for descriptor in Path("/proc/self/fd").iterdir() if descriptor.is_symlink()]
    assert not [link for link in links if str(tmp_path) in str(link.readlink())]


def test_a_close_that_only_lacks_its_mark_does_not_say_that_commits_are_lost(tmp_path, monkeypatch, events):
    db = inmem.open(tmp_path / "db", durability="always")
    db.put("run", "k", 1)
    with monkeypatch.context() as patch:
        patch.setattr(LogFile, "sync", fail)
        with pytest.raises(inmem.StorageError, match=r"the mark of the close could not .* all commits are"):
            db.close()
    with inmem.open(tmp_path / "db") as again:
        assert again.get("run", "k") == 1
    assert told(events, "warning", "close_mark_missing") == []


@pytest.mark.parametrize("operation", ["append", "rename"])
def test_a_close_that_only_lacks_its_mark_tells_it(tmp_path, operation, events):
    """Either the mark itself, or the manifest that says that it is there."""
    disk = FaultyDisk(tmp_path / "db")
    db = open_on(disk)
    db.put("run", "k", SECRET)
    disk.fail(operation, disk_full, forever=True)
    db.close()
    (missing,) = told(events, "warning", "close_mark_missing")
    assert list(missing) == ["error"]
    assert "injected: no space left" in missing["error"]
    with inmem.open(tmp_path / "db") as again:
        assert again.get("run", "k") == SECRET


def test_a_store_that_cannot_sync_names_the_file(tmp_path, monkeypatch):
    db = inmem.open(tmp_path / "db", durability="never")
    db.put("run", "k", 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(inmem.StoreFailedError, match=r"/db/000000000002\.wal\.tmp'\. Reads go on"):
            db.flush()
        with pytest.raises(inmem.StorageError):
            db.close()


def test_a_close_that_cannot_sync_names_the_file(tmp_path, monkeypatch):
    db = inmem.open(tmp_path / "db", durability="never")
    db.put("run", "k", 1)
    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(inmem.StorageError, match=r"could not be made durable: .*/db/000000000001\.wal: injected$"):
        db.close()


def test_a_write_that_cannot_be_taken_back_names_its_file(folder, monkeypatch):
    segment = folder.create("000000000001.wal")
    segment.append(b"head")
    monkeypatch.setattr(os, "write", fail)
    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(OSError, match=r"000000000001\.wal") as caught:
        segment.append(b"frame")
    assert "000000000001.wal" in shown_failure(caught.value)


def test_a_forked_child_leaves_the_file_as_long_as_its_parent_has_made_it(folder):
    """A child has a copy of whatever held the file, and disposes of it whenever it likes."""
    segment = folder.create("000000000001.wal")
    segment.append(b"head")
    segment.append(b"before")
    may_close, has_written = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(may_close, 1)
        segment.close()
        os._exit(0)
    segment.append(b"after")
    os.write(has_written, b".")
    assert os.waitpid(child, 0)[1] == 0
    assert content_of(folder, "000000000001.wal").startswith(b"headbeforeafter")
    segment.close()
    os.close(may_close)
    os.close(has_written)


@pytest.fixture
def fork():
    """Fork a child that says when it is there and stays until the end of the test."""
    may_end, end = os.pipe()
    is_there, there = os.pipe()
    children = []

    def fork():
        child = os.fork()
        if child == 0:
            os.write(there, b".")
            os.read(may_end, 1)
            os._exit(0)
        children.append(child)
        os.read(is_there, 1)

    yield fork
    for child in children:
        os.write(end, b".")
        assert os.waitpid(child, 0)[1] == 0
    assert children
    for descriptor in (may_end, end, is_there, there):
        os.close(descriptor)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_child_forked_in_the_middle_of_an_opening_does_not_keep_the_lock(tmp_path, monkeypatch, fork, read_only):
    """By another thread, for a program of its own: it may live on when this process is gone."""
    FolderDisk(str(tmp_path / "db")).close()
    lock_folder = FolderLock._lock_folder

    def fork_once_it_is_locked(self, kind):
        lock_folder(self, kind)
        fork()

    with monkeypatch.context() as patch:
        patch.setattr(FolderLock, "_lock_folder", fork_once_it_is_locked)
        disk = FolderDisk(str(tmp_path / "db"), read_only=read_only)
        if read_only:
            disk.keep_owners_away()
    # As the end of this process would.
    disk._lock.abandon()
    FolderDisk(str(tmp_path / "db")).close()


@pytest.mark.parametrize("which", [0, 1])
def test_a_child_forked_before_a_descriptor_is_noted_does_not_keep_the_lock(tmp_path, monkeypatch, fork, which):
    """Of the LOCK file, or of the folder."""
    FolderDisk(str(tmp_path / "db")).close()
    os_open = os.open
    forking = threading.Thread(target=fork)
    opened = []

    def open_and_let_fork(*args):
        descriptor = os_open(*args)
        opened.append(descriptor)
        if len(opened) == which + 1:
            forking.start()
            # Some milliseconds to fork in, which it should not do yet.
            forking.join(0.05)
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr("inmem.actors.files.folder_lock.os.open", open_and_let_fork)
        disk = FolderDisk(str(tmp_path / "db"))
    forking.join(FAILSAFE_S)
    disk._lock.abandon()
    FolderDisk(str(tmp_path / "db")).close()


@pytest.mark.parametrize("call", ["close", "flock"])
@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_letting_go_of_the_files_cannot_fail(tmp_path, monkeypatch, call, dispatcher):
    """An error that nobody can do anything about kept the one who closed the store waiting for ever."""
    db = inmem.open(tmp_path / "db", dispatcher=dispatcher)
    db.put("run", "k", 1)
    descriptors = []
    with monkeypatch.context() as patch:
        if call == "close":
            patch.setattr(
                "inmem.actors.files.folder_disk.os.close", lambda descriptor: (descriptors.append(descriptor), fail())
            )
        else:
            patch.setattr("inmem.actors.files.folder_lock.fcntl.flock", fail)
        in_parallel(db.close)
    for descriptor in descriptors:
        os.close(descriptor)
    with inmem.open(tmp_path / "db") as again:
        assert again.get("run", "k") == 1


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_a_supervisor_that_fails_over_a_close_leaves_nobody_waiting(tmp_path, monkeypatch, dispatcher, events):
    disk = FaultyDisk(tmp_path / "db")
    db = open_on(disk, dispatcher=dispatcher)
    db.put("run", "k", 1)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "close", fail)

        def close():
            with pytest.raises(inmem.StoreFailedError, match="supervisor"):
                db.close()

        in_parallel(close)
    in_parallel(db.close)
    (bug,) = told(events, "error", "supervisor_error")
    assert raised(bug, OSError)
    assert bug["error"].startswith("OSError(")
    disk.close()
    with inmem.open(tmp_path / "db") as again:
        assert again.get("run", "k") == 1


@pytest.mark.parametrize("call", ["dup", "pread"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_refused_read_of_a_view_is_an_error_of_storage_that_names_the_file(folder, monkeypatch, call, number):
    name = "000000000001.wal"
    segment = folder.create(name)
    segment.append(b"frame")
    segment.close()

    def refuse(*_):
        raise OSError(number, "injected")

    with folder.view() as view, monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(inmem.StorageError, match="injected") as refused:
            content_of(view, name)
    assert type(refused.value) is inmem.StorageError
    assert str(refused.value) == f"{folder.path}/{name}: injected"


@pytest.mark.parametrize("create", [True, False])
def test_a_folder_that_cannot_be_looked_at_is_not_taken_for_something_else(tmp_path, monkeypatch, create):
    path = str(tmp_path / "db")
    FolderDisk(path).close()
    with monkeypatch.context() as patch:
        patch.setattr("inmem.actors.files.folder_disk.os.stat", fail)
        with pytest.raises(inmem.StorageError, match="injected") as refused:
            FolderDisk(path, create=create)
    assert type(refused.value) is inmem.StorageError


@pytest.mark.parametrize("numbers", [1, 3])
def test_an_interrupted_call_is_made_again(tmp_path, monkeypatch, numbers):
    """Python repeats most calls by itself, but not those that list or look up names."""
    calls = {"stat": os.stat, "listdir": os.listdir, "rename": os.rename, "unlink": os.unlink}
    interrupted = dict.fromkeys(calls, 0)

    def interrupting(name):
        def call(*arguments, **options):
            if interrupted[name] < numbers:
                interrupted[name] += 1
                raise InterruptedError(errno.EINTR, "injected")
            return calls[name](*arguments, **options)

        return call

    for name in calls:
        monkeypatch.setattr(f"inmem.actors.files.folder_disk.os.{name}", interrupting(name))
    folder = FolderDisk(str(tmp_path / "db"))
    folder.create("a").close()
    folder.rename("a", "b")
    assert folder.names() == ["LOCK", "b"]
    folder.remove("b")
    folder.close()
    monkeypatch.undo()
    assert set(interrupted.values()) == {numbers}
    assert [file.name for file in Path(tmp_path / "db").iterdir()] == ["LOCK"]
