"""Every system call of a commit, a checkpoint and a close fails or is the last one, by way of strace."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import inmem
from tests.actors.workload import check_no_hole, numbers_of
from tests.crash.victim import COMMITS

ROOT = Path(__file__).parents[2]
CALLS = ("write", "fdatasync", "rename", "fsync", "openat", "unlink")
INTERPRETER = os.path.realpath(sys.executable)
STRIKES = int(os.environ.get("INMEM_SYSCALLS", "3"))
"""How many occurrences of a system call are struck, from the first to the last; a large number strikes them all."""


@cache
def why_no_strace() -> str:
    if shutil.which("strace") is None:
        return "there is no strace here"
    done = subprocess.run(
        ["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, timeout=30, check=False
    )
    return f"strace may not trace: {done.stderr.strip()}" if done.returncode else ""


@pytest.fixture(autouse=True)
def _strace() -> None:
    if why_no_strace():
        pytest.skip(why_no_strace())


def live(path: Path, durability: str, *options: str) -> tuple[int, list[str]]:
    """Run the victim under strace; return its exit code and what it said."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "PYTHONDONTWRITEBYTECODE": "1"}
    # The real interpreter, not a launcher that starts it; -P limits the tracing to calls that touch the database.
    command = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", str(path.parent / "trace"), *options]
    command += [INTERPRETER, "-m", "tests.crash.victim", str(path), durability]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def only_the_database(path: Path) -> list[str]:
    numbers = range(1, 8)
    names = [f"{number:012d}.{kind}" for number in numbers for kind in ("wal", "checkpoint", "checkpoint.tmp")]
    names += ["MANIFEST", "MANIFEST.tmp"]
    return [option for name in ("", *names) for option in ("-P", str(path / name) if name else str(path))]


def occurrences(tmp_path: Path, call: str, durability: str) -> int:
    path = tmp_path / "plain"
    code, said = live(path, durability, *only_the_database(path), "-e", f"trace={call}")
    assert code == 0
    assert said[-1] == "closed"
    trace = (tmp_path / "trace").read_text()
    shutil.rmtree(path)
    # strace counts for each thread by itself.
    by_thread = Counter(line.split()[0] for line in trace.splitlines() if f" {call}(" in line)
    return max(by_thread.values())


def strikes(tmp_path: Path, call: str, durability: str) -> Iterator[tuple[int, Path]]:
    total = occurrences(tmp_path, call, durability)
    count = min(total, STRIKES)
    for at in sorted({1 + (total - 1) * n // max(1, count - 1) for n in range(count)}):
        yield at, tmp_path / f"{call}-{at}"


def check(path: Path, said: list[str]) -> None:
    """Whatever happened: what was acknowledged is there, what was refused is not, and the store works."""
    acked = {int(line.split()[1]) for line in said if line.startswith("acked")}
    refused = {int(line.split()[1]) for line in said if line.startswith("refused") and "Unknown" not in line}
    with inmem.open(path) as db:
        numbers = numbers_of(db, "ada")
        assert acked <= numbers, said
        assert not refused & numbers, said
        check_no_hole(db, ["ada"])
        assert db.verify().is_valid
        db.put("run", "works", 1)


@pytest.mark.parametrize("call", CALLS)
def test_killed_at_a_system_call(tmp_path, call):
    killed = 0
    for at, path in strikes(tmp_path, call, "always"):
        inject = f"inject={call}:signal=KILL:when={at}"
        _, said = live(path, "always", *only_the_database(path), "-e", f"trace={call}", "-e", inject)
        killed += "closed" not in said
        check(path, said)
    assert killed


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EINTR"])
@pytest.mark.parametrize("call", CALLS)
def test_an_error_from_a_system_call(tmp_path, call, error):
    for at, path in strikes(tmp_path, call, "always"):
        inject = f"inject={call}:error={error}:when={at}"
        _, said = live(path, "always", *only_the_database(path), "-e", f"trace={call}", "-e", inject)
        assert said, at
        if error == "EINTR":
            # Python repeats interrupted calls, or the store does; nobody notices.
            assert f"acked {2 * COMMITS - 1}" in said, (at, said)
        check(path, said)
