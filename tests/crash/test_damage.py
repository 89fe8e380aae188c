"""Whole databases of which a byte was altered, or a file was cut or is gone: refused or a prefix, nothing else.

The folders are real, and opened as anybody would open them. What is refused is left as it was, byte for byte.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import inmem
from inmem import CorruptionError
from inmem.actors.files import log_file
from inmem.engine.log.log_folder import segment_name
from inmem.engine.log.log_format import FRAME_HEADER_BYTES
from tests.integration.five import everything

LAST = segment_name(4)


def fill(path: Path) -> Iterator[None]:
    """Two openings, a checkpoint, and commits behind it; yields before the last close."""
    with inmem.open(path) as db:
        db.put("run", "a", 1)
    with inmem.open(path) as db:
        db.events.append("run", "heard", 2)
        db.checkpoint()
    with inmem.open(path) as db:
        db.put("run", "b", 3)
        db.cells.init("run", "cell", 4)
        yield


@pytest.fixture(scope="module", autouse=True)
def no_room_ahead() -> Iterator[None]:
    """Logs that end where their content ends: zeros behind it have no byte worth altering."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_file, "RESERVE_BYTES", 0)
        yield


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("closed") / "db"
    for _ in fill(path):
        pass
    return path


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process leaves that is killed after its last commit was acknowledged."""
    folder = tmp_path_factory.mktemp("killed")
    for _ in fill(folder / "live"):
        shutil.copytree(folder / "live", folder / "db")
    return folder / "db"


def content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def state(path: Path) -> tuple[int, object]:
    with inmem.open(path, read_only=True) as db:
        return db.version, everything(db)


def refuse(path: Path, culprit: Path) -> CorruptionError:
    """Every way of opening names the file, and changes nothing."""
    before = content(path)
    with pytest.raises(CorruptionError) as caught:
        inmem.open(path, read_only=True)
    assert caught.value.path == str(culprit)
    assert content(path) == before
    return caught.value


def refuse_the_owner_too(path: Path, culprit: Path) -> None:
    before = content(path)
    with pytest.raises(CorruptionError) as caught:
        inmem.open(path)
    assert caught.value.path == str(culprit)
    after = content(path)
    # The lock file says who holds it; nothing else may differ.
    assert after.pop("LOCK") is not None
    before.pop("LOCK")
    assert after == before


@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_every_byte_of_a_closed_database(closed, tmp_path, mask):
    shutil.copytree(closed, tmp_path / "db")
    path = tmp_path / "db"
    flips = 0
    for file in sorted(path.iterdir()):
        if file.name == "LOCK":
            continue
        data = file.read_bytes()
        for at in range(len(data)):
            file.write_bytes(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
            assert refuse(path, file).offset <= at
            flips += 1
            if at % 50 == 0:
                refuse_the_owner_too(path, file)
        file.write_bytes(data)
    assert state(path) == state(closed)
    assert flips > 700


@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_every_byte_of_a_database_whose_process_was_killed(killed, tmp_path, mask):
    """The mark behind the last commit guards every commit; the mark itself holds no data."""
    whole = state(killed)
    shutil.copytree(killed, tmp_path / "db")
    path = tmp_path / "db"
    answers: Counter[str] = Counter()
    for file in sorted(path.iterdir()):
        data = file.read_bytes()
        mark = len(data) - FRAME_HEADER_BYTES if file.name == LAST else len(data)
        for at in range(len(data)):
            file.write_bytes(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
            if at >= mark or file.name == "LOCK":
                assert state(path) == whole
                answers["whole"] += 1
            else:
                assert refuse(path, file).offset <= at
                answers["refused"] += 1
        file.write_bytes(data)
    assert answers["whole"] >= FRAME_HEADER_BYTES
    assert answers["refused"] > 700


def test_every_length_of_every_file_of_a_closed_database(closed, tmp_path):
    shutil.copytree(closed, tmp_path / "db")
    path = tmp_path / "db"
    for file in sorted(path.iterdir()):
        if file.name == "LOCK":
            continue
        data = file.read_bytes()
        for size in range(len(data)):
            file.write_bytes(data[:size])
            refuse(path, file)
        refuse_the_owner_too(path, file)
        file.write_bytes(data)


def test_every_length_of_the_last_segment_of_a_killed_database(killed, tmp_path):
    """Of a log that was not closed the end may be missing, as after a power failure: a prefix, and no other state."""
    states: dict[int, object] = {}
    data = (killed / LAST).read_bytes()
    versions = []
    for size in range(len(data), -1, -1):
        path = tmp_path / str(size)
        shutil.copytree(killed, path)
        (path / LAST).write_bytes(data[:size])
        if size < 64:
            # The manifest knows that it was created.
            refuse(path, path / LAST)
        else:
            version, found = state(path)
            versions.append(version)
            assert states.setdefault(version, found) == found
        shutil.rmtree(path)
    assert versions == sorted(versions, reverse=True)
    assert set(versions) == {2, 3, 4}


@pytest.mark.parametrize("which", ["closed", "killed"])
def test_every_file_that_is_gone(which, tmp_path, request):
    whole = request.getfixturevalue(which)
    names = sorted(content(whole))
    assert names == ["000000000003.checkpoint", "000000000003.wal", LAST, "LOCK", "MANIFEST"]
    for name in names:
        path = tmp_path / name
        shutil.copytree(whole, path)
        (path / name).unlink()
        if name == "LOCK":
            with inmem.open(path) as db:
                assert db.version == 4
        else:
            refuse(path, path / name)
            refuse_the_owner_too(path, path / name)


def test_the_only_segment_of_a_closed_database(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        db.put("run", "k", 1)
    (tmp_path / "db" / segment_name(1)).unlink()
    refuse_the_owner_too(tmp_path / "db", tmp_path / "db" / segment_name(1))
