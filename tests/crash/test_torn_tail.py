"""The files of a store that was cut off at every byte of its last group."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import inmem
from inmem.actors.files import log_file
from inmem.engine.log.frame_reader import FrameReader
from inmem.engine.log.log_folder import segment_name
from inmem.engine.log.log_format import FRAME_HEADER_BYTES, FrameKind, SegmentHeader
from tests.actors.workload import numbers_of, piece
from tests.engine.memory_disk import BytesFile

WORKER = "ada"


def commit(db: inmem.Database, number: int) -> None:
    db.transaction(WORKER, lambda txn: piece(txn, WORKER, number))


@pytest.fixture(scope="module", autouse=True)
def no_room_ahead() -> Iterator[None]:
    """A log that ends where its content ends; what room ahead changes is the last test's subject."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_file, "RESERVE_BYTES", 0)
        yield


@pytest.fixture(scope="module")
def live_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store that was running: four commits, the last one small, and no clean close."""
    folder = tmp_path_factory.mktemp("live")
    with inmem.open(folder / "db") as db:
        for number in range(3):
            commit(db, number)
        db.put("run", "k", 1)
        shutil.copytree(folder / "db", folder / "copy")
    return folder / "copy"


def frame_offsets(path: Path) -> list[int]:
    data = path.read_bytes()
    header = SegmentHeader.decode(data, str(path), is_last=False)
    assert header is not None
    frames = FrameReader(BytesFile(data), header, str(path), None)
    return [frame.offset for frame in frames if frame.kind == FrameKind.COMMIT]


def open_commit_and_reopen_twice(path: Path, kept: int) -> None:
    with inmem.open(path) as db:
        assert numbers_of(db, WORKER) == set(range(kept))
        commit(db, 100)
    for again in range(2):
        with inmem.open(path) as db:
            assert numbers_of(db, WORKER) == {*range(kept), *range(100, 101 + again)}
            commit(db, 101 + again)
    with inmem.open(path) as db:
        assert numbers_of(db, WORKER) == {*range(kept), 100, 101, 102}
        assert db.version == kept + 4
        assert db.verify().is_valid


def test_cut_at_every_byte_of_the_last_group(live_copy, tmp_path):
    segment = segment_name(1)
    size = (live_copy / segment).stat().st_size
    last = frame_offsets(live_copy / segment)[-1]
    # Behind the commit stands the mark that says that it is durable.
    for length in range(last, size - FRAME_HEADER_BYTES):
        path = tmp_path / str(length)
        shutil.copytree(live_copy, path)
        os.truncate(path / segment, length)
        cut = (path / segment).read_bytes()[last:]
        with inmem.open(path) as db:
            assert numbers_of(db, WORKER) == {0, 1, 2}
            assert db.get("run", "k") is None
            assert db.put("run", "k", 2) == 4
        aside = path / f"{segment}.torn-{last}"
        assert (aside.read_bytes() if cut else b"") == cut
        assert aside.exists() == bool(cut)
        assert (path / segment).stat().st_size == last
        for _ in range(2):
            with inmem.open(path, durability="never") as db:
                assert numbers_of(db, WORKER) == {0, 1, 2}
                assert db.get("run", "k") == 2
        shutil.rmtree(path)


def test_cut_within_the_mark_behind_the_last_group(live_copy, tmp_path):
    segment = segment_name(1)
    end = (live_copy / segment).stat().st_size - FRAME_HEADER_BYTES
    for length in (0, 1, 16, 31):
        path = tmp_path / str(length)
        shutil.copytree(live_copy, path)
        os.truncate(path / segment, end + length)
        open_commit_and_reopen_twice(path, 3)


@pytest.mark.parametrize("garbage", [b"\0\1", b"\0" * 100 + b"\1", b"\xd5", b"\xd5\xf7\x01\0", b"garbage" * 50])
def test_garbage_behind_the_last_group(live_copy, tmp_path, garbage):
    path = tmp_path / "db"
    shutil.copytree(live_copy, path)
    segment = path / segment_name(1)
    size = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(garbage)
    open_commit_and_reopen_twice(path, 3)
    assert (path / f"{segment.name}.torn-{size}").read_bytes() == garbage


def test_the_frames_of_the_segment_itself_once_more(live_copy, tmp_path):
    """Stale but valid frames behind the tail are not taken for commits."""
    path = tmp_path / "db"
    shutil.copytree(live_copy, path)
    segment = path / segment_name(1)
    offsets = frame_offsets(segment)
    stale = segment.read_bytes()[offsets[-2] : offsets[-1]]
    with segment.open("ab") as file:
        file.write(stale)
    open_commit_and_reopen_twice(path, 3)


@pytest.mark.parametrize("size", [0, 1, 8, 40, 63, 64])
def test_a_segment_whose_creation_was_interrupted(live_copy, tmp_path, size):
    path = tmp_path / "db"
    shutil.copytree(live_copy, path)
    header = (path / segment_name(1)).read_bytes()[:64]
    (path / segment_name(2)).write_bytes((header[:8] + bytes(56))[:size])
    open_commit_and_reopen_twice(path, 3)
    assert (path / f"{segment_name(2)}.torn-0").stat().st_size == size


def test_torn_again_after_being_repaired(live_copy, tmp_path):
    path = tmp_path / "db"
    shutil.copytree(live_copy, path)
    for round_number in range(1, 4):
        segments = sorted(path.glob("*.wal"))
        with segments[-1].open("ab") as file:
            file.write(b"torn" * round_number)
        with inmem.open(path) as db:
            commit(db, 100 + round_number)
            shutil.copytree(path, tmp_path / f"live-{round_number}")
        path = tmp_path / f"live-{round_number}"
    with inmem.open(path) as db:
        assert numbers_of(db, WORKER) == {0, 1, 2, 101, 102, 103}


def test_room_that_was_claimed_ahead_is_no_torn_tail(tmp_path, monkeypatch):
    monkeypatch.setattr(log_file, "RESERVE_BYTES", 4096)
    with inmem.open(tmp_path / "db") as db:
        for number in range(3):
            commit(db, number)
        db.put("run", "k", 1)
        shutil.copytree(tmp_path / "db", tmp_path / "killed")
    claimed = tmp_path / "killed" / segment_name(1)
    data = claimed.read_bytes()
    assert len(data) > 4096
    assert not data[-2000:].strip(b"\x00")
    with inmem.open(tmp_path / "killed", read_only=True) as db:
        assert numbers_of(db, WORKER) == {0, 1, 2}
        assert db.verify().files.torn == ()
    # A closed log gives the room back.
    assert len((tmp_path / "db" / segment_name(1)).read_bytes()) < 2000
    # What was begun in that room is a torn tail like any other.
    with claimed.open("r+b") as file:
        file.seek(len(data.rstrip(b"\x00")) + 40)
        file.write(b"half")
    open_commit_and_reopen_twice(tmp_path / "killed", 3)
    assert list((tmp_path / "killed").glob("*.torn-*"))


def test_a_log_goes_on_where_no_room_can_be_claimed(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "no room ahead")

    monkeypatch.setattr(log_file, "RESERVE_BYTES", 4096)
    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with inmem.open(tmp_path / "db") as db:
        for number in range(3):
            commit(db, number)
        assert (tmp_path / "db" / segment_name(1)).stat().st_size < 4096
    with inmem.open(tmp_path / "db") as db:
        assert numbers_of(db, WORKER) == {0, 1, 2}
