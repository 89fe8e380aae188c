"""A folder that cannot be written to: refused by name, or opened for reading; not a byte of it changes."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import inmem
from tests.actors.workload import Worker

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place that others than its owner can reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def leave_unclosed(path: Path) -> None:
    """A database as a killed process leaves it, with a torn tail and a temporary file: an owner would tidy up."""
    with inmem.open(path) as db:
        Worker(db, "ada").do(3)
        shutil.copytree(path, path.with_suffix(".copy"))
    shutil.rmtree(path)
    path.with_suffix(".copy").rename(path)
    with (path / "000000000001.wal").open("ab") as segment:
        segment.write(b"torn")
    (path / "000000000002.checkpoint.tmp").write_bytes(b"left behind")


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


LOOK = """
import sys
import inmem
path = sys.argv[1]
try:
    inmem.open(path)
except inmem.ReadOnlyError as error:
    print("refused", error)
try:
    inmem.open(path + "-new")
except inmem.ReadOnlyError as error:
    print("refused", error)
with inmem.open(path, read_only=True) as db:
    print(len(db.kv.list("ada")), db.verify().is_valid)
    try:
        db.put("run", "k", 1)
    except inmem.ReadOnlyError:
        print("for reading")
"""


def test_a_read_only_mount(folder):
    """Mounted in a name space of its own, so that nobody else sees it. Not even root may write there."""
    leave_unclosed(folder / "db")
    before = contents(folder / "db")
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare command")
    probe = subprocess.run([*unshare, "sh", "-c", mount, folder, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"nothing can be mounted here: {probe.stderr.strip()}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [*unshare, "sh", "-c", mount, folder, sys.executable, "-c", LOOK, str(folder / "db")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    refused, refused_too, *others = done.stdout.splitlines()
    assert refused.startswith("refused")
    assert "Read-only file system" in refused
    assert refused_too.startswith("refused")
    assert "Read-only file system" in refused_too
    assert others == ["3 True", "for reading"]
    assert contents(folder / "db") == before


@contextmanager
def without_rights() -> Iterator[None]:
    """Be nobody for a while, if this is root, who may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    ("what", "mode", "opened"),
    [
        ("folder", 0o555, inmem.open),
        ("folder", 0o555, lambda path: inmem.open(path / "new")),
        ("lock", 0o444, inmem.open),
    ],
    ids=["a folder", "a folder in it", "its lock"],
)
def test_no_right_to_write(folder, what: str, mode: int, opened: Callable[[Path], inmem.Database]):
    path = folder / "db"
    if what == "lock":
        leave_unclosed(path)
        for file in path.iterdir():
            file.chmod(mode)
        path.chmod(0o555)
    else:
        path.mkdir()
        path.chmod(mode)
    before = contents(path)
    try:
        with without_rights():
            with pytest.raises(inmem.ReadOnlyError, match="Permission denied"):
                opened(path)
            if what == "lock":
                with inmem.open(path, read_only=True) as db:
                    assert len(db.kv.list("ada")) == 3
    finally:
        path.chmod(0o755)
    assert contents(path) == before


@pytest.mark.parametrize("what", ["folder", "segment"])
def test_no_right_to_read(folder, what: str):
    """That the database can only be opened for reading would be the wrong thing to say."""
    path = folder / "db"
    leave_unclosed(path)
    hidden = path if what == "folder" else path / "000000000001.wal"
    for file in (path, *path.iterdir()):
        file.chmod(0 if file == hidden else 0o755)
    try:
        with without_rights(), pytest.raises(inmem.StorageError, match="Permission denied") as refused:
            inmem.open(path, read_only=True)
        assert type(refused.value) is inmem.StorageError
    finally:
        hidden.chmod(0o755)


def test_a_folder_that_becomes_read_only_while_the_store_runs(folder):
    """Commits go on in the segment that is open; a checkpoint is refused by name, and possible again afterwards."""
    path = folder / "db"
    if os.geteuid() == 0:
        path.mkdir()
        os.chown(path, NOBODY, NOBODY)
    with without_rights():
        db = inmem.open(path)
        worker = Worker(db, "ada")
        worker.do(1)
        path.chmod(0o555)
        worker.do(2)
        with pytest.raises(inmem.ReadOnlyError, match="Permission denied"):
            db.checkpoint()
        worker.do(1)
        path.chmod(0o755)
        assert db.checkpoint() == 4
        worker.do(1)
        db.close()
        with inmem.open(path) as again:
            worker.check(again)
    assert worker.acked == [0, 1, 2, 3, 4]
