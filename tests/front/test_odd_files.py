"""What lies in a database's folder under its names and is no file of its own, or is somebody else's: told, and left."""

import os

import pytest

import inmem

SECOND = "000000000002.wal"
PIPES = [SECOND, "000000000003.wal", "000000000003.checkpoint", "MANIFEST"]


@pytest.fixture
def path(tmp_path):
    """A database of two segments."""
    path = tmp_path / "db"
    for number in range(2):
        with inmem.open(path) as db:
            db.put("run", str(number), number)
    assert (path / SECOND).exists()
    return path


def require_intact(path, *, read_only):
    with inmem.open(path, read_only=read_only) as db:
        assert [db.get("run", "0"), db.get("run", "1")] == [0, 1]
        assert db.verify().is_valid


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("name", PIPES)
def test_a_named_pipe_is_refused_and_nobody_waits_for_its_writer(path, name, read_only):
    (path / name).unlink(missing_ok=True)
    os.mkfifo(path / name)
    with pytest.raises(inmem.StorageError, match=f"{name}: is not a regular file"):
        inmem.open(path, read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("name", PIPES)
def test_so_are_a_folder_and_a_device(path, name, read_only):
    (path / name).unlink(missing_ok=True)
    (path / name).mkdir()
    with pytest.raises(inmem.StorageError, match=f"{name}: is not a regular file"):
        inmem.open(path, read_only=read_only)
    (path / name).rmdir()
    (path / name).symlink_to("/dev/zero")
    with pytest.raises(inmem.StorageError, match=f"{name}: is not a regular file"):
        inmem.open(path, read_only=read_only)


def test_a_lock_that_is_no_file_locks_nobody_out_and_nobody_in(path):
    lock = path / "LOCK"
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(inmem.StorageError, match="LOCK: is not a regular file"):
        inmem.open(path)
    # Nobody has to own it to look at it.
    require_intact(path, read_only=True)
    lock.unlink()
    require_intact(path, read_only=False)


def test_a_salvage_does_not_wait_for_a_pipe_either(path, tmp_path):
    (path / SECOND).unlink()
    os.mkfifo(path / SECOND)
    with pytest.raises(inmem.StorageError, match=f"{SECOND}: is not a regular file"):
        inmem.salvage(path, tmp_path / "new")


@pytest.mark.parametrize("read_only", [False, True])
def test_a_link_to_a_segment_is_that_segment(path, read_only):
    (path / SECOND).rename(path.parent / "elsewhere")
    (path / SECOND).symlink_to("../elsewhere")
    require_intact(path, read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
def test_of_a_link_that_leads_nowhere_the_file_is_missing(path, read_only):
    (path / SECOND).unlink()
    (path / SECOND).symlink_to("nowhere")
    with pytest.raises(inmem.StorageError, match=f"{SECOND}: No such file or directory"):
        inmem.open(path, read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
def test_what_a_user_keeps_in_the_folder_stays(path, read_only):
    (path / "notes.tmp").write_text("mine")
    (path / ".000000000003.wal.tmp").write_text("mine")
    (path / "x.tmp").mkdir()
    require_intact(path, read_only=read_only)
    assert (path / "notes.tmp").read_text() == (path / ".000000000003.wal.tmp").read_text() == "mine"
    assert (path / "x.tmp").is_dir()


@pytest.mark.parametrize(
    "name", ["000000000002.wal.tmp", "000000000009.wal.tmp", "000000000009.checkpoint.tmp", "MANIFEST.tmp"]
)
def test_what_the_store_has_not_finished_goes(path, name):
    (path / name).write_bytes(b"half")
    require_intact(path, read_only=True)
    assert (path / name).exists()
    require_intact(path, read_only=False)
    assert not (path / name).exists()
