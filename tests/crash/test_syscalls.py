"""Every system call of an opening, a commit, a segment switch, a checkpoint and a close fails, or is the last one.

strace counts the calls that touch the database, in a life in which nothing fails; then each of them is struck in a
life of its own: killed, or failed with EIO, ENOSPC or EINTR. Those of a commit are all struck. Of the other phases,
INMEM_SYSCALLS says how many, spread evenly; the default suits a continuous integration run, and a large number strikes
all of them too.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

import inmem
from tests.actors.workload import check_no_hole, numbers_of, piece
from tests.crash.nursery import Nursery, Victim

STRIKES = int(os.environ.get("INMEM_SYSCALLS", "3"))
FAILSAFE_S = 60

Call = tuple[str, int]
"""(name of a system call, its number among those of that name in one thread)."""


@cache
def why_no_strace() -> str:
    if shutil.which("strace") is None:
        return "there is no strace here"
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            with traced(sleeper.pid, Path(os.devnull)):
                return ""
        except PermissionError as error:
            return f"strace may not trace: {error}"
        finally:
            sleeper.kill()


@contextmanager
def traced(pid: int, trace: Path, *options: str) -> Iterator[None]:
    """Trace a process from here to the end of its life, or of the block."""
    command = ["strace", "-f", "-o", str(trace), *options, "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        first = tracer.stderr.readline()
        if "attached" not in first:
            raise PermissionError(first)
        try:
            yield
        finally:
            tracer.terminate()
            tracer.stderr.read()


@pytest.fixture(scope="module", autouse=True)
def _strace() -> None:
    if why_no_strace():
        pytest.skip(why_no_strace())


@pytest.fixture(scope="module")
def known_calls() -> dict[tuple[str, str], list[Call]]:
    """By phase and durability: counted once, struck with each fault."""
    return {}


def files_of(path: Path) -> list[str]:
    """Return strace's options for tracing what touches the database, and nothing else."""
    names = [f"{number:012d}.{kind}" for number in range(1, 6) for kind in ("wal", "checkpoint", "checkpoint.tmp")]
    names += [f"{name}.torn-{offset}" for name in names[:3] for offset in (0, TORN_AT)] + [
        "LOCK",
        "MANIFEST",
        "MANIFEST.tmp",
    ]
    return [part for name in ("", *names) for part in ("-P", str(path / name) if name else str(path))]


TORN_AT = 64
"""Where the segment that `leave_a_torn_tail` makes is torn: behind its header."""


def leave_a_torn_tail(path: Path) -> None:
    with inmem.open(path) as db:
        db.transaction("ada", lambda txn: piece(txn, "ada", 0))
        copy = path.with_suffix(".copy")
        shutil.copytree(path, copy)
    shutil.rmtree(path)
    copy.rename(path)
    with (path / f"{1:012d}.wal").open("ab") as segment:
        segment.write(b"torn")
    (path / f"{1:012d}.checkpoint.tmp").write_bytes(b"left behind")


class Scene:
    """One phase of a life in one mode; struck at any of its calls."""

    def __init__(self, victims: Nursery, folder: Path, phase: str, durability: str) -> None:
        self._victims = victims
        self._folder = folder
        self._phase = phase
        self._durability = durability
        self._lives = 0

    def live(self, *options: str) -> tuple[Path, list[str], str]:
        """Live once; return where, what the victim said, and the trace."""
        self._lives += 1
        path = self._folder / f"db-{self._lives}"
        if self._phase == "open torn":
            leave_a_torn_tail(path)
        go, trace = Path(f"{path}.go"), Path(f"{path}.trace")
        os.mkfifo(go)
        phase = self._phase.split()[0]
        said: list[str] = []
        with self._victims.victim("tests.crash.victim:live", str(path), self._durability, phase) as victim:
            self._say_until("ready", victim, said)
            marked = [*files_of(path), "-P", f"{path}.mark", *options]
            with traced(victim.pid, trace, *marked):
                go.open("w").close()
                self._say_until("", victim, said)
                victim.wait()
        return path, said, trace.read_text()

    @staticmethod
    def _say_until(last: str, victim: Victim, said: list[str]) -> None:
        for line in victim.said:
            said.append(line.decode().strip())
            if said[-1] == last:
                return

    def calls(self) -> list[Call]:
        """Return the calls of the phase, in their order, as a life without faults makes them."""
        _, said, trace = self.live()
        assert said[-1] == "closed"
        counts: Counter[tuple[str, str]] = Counter()
        calls: dict[Call, None] = {}
        for line in trace.splitlines():
            if ".mark" in line:
                break
            found = re.match(r"(\d+) +(\w+)\(", line)
            if found:
                counts[found.groups()] += 1
                calls[found[2], counts[found.groups()]] = None
        return list(calls)


def spread(calls: list[Call], count: int) -> list[Call]:
    """Return so many of the calls, the first and the last among them."""
    step = (len(calls) - 1) / (count - 1)
    return calls if count >= len(calls) else [calls[round(n * step)] for n in range(count)]


def check(path: Path, said: list[str]) -> None:
    """Whatever happened: what was acknowledged is there, what was refused is not, and the store works."""
    acked = {int(line.split()[1]) for line in said if line.startswith("acked")}
    refused = {int(line.split()[1]) for line in said if line.startswith("refused") and "Unknown" not in line}
    with inmem.open(path) as db:
        numbers = numbers_of(db, "ada")
        assert acked <= numbers
        assert not refused & numbers
        check_no_hole(db, ["ada"])
        assert db.verify().is_valid
        db.put("run", "works", 1)
    with inmem.open(path) as db:
        assert db.get("run", "works") == 1
        assert numbers_of(db, "ada") == numbers


PHASES = [
    ("open", "always"),
    ("open torn", "always"),
    ("commit", "always"),
    ("commit", "interval"),
    ("commit", "never"),
    ("segment", "always"),
    ("checkpoint", "always"),
    ("checkpoint", "never"),
    ("close", "always"),
    ("close", "never"),
]


@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO", "error=ENOSPC", "error=EINTR"])
@pytest.mark.parametrize(("phase", "durability"), PHASES)
def test_struck_at_a_system_call(victims, known_calls, tmp_path, phase, durability, fault):
    scene = Scene(victims, tmp_path, phase, durability)
    calls = known_calls.get((phase, durability)) or known_calls.setdefault((phase, durability), scene.calls())
    struck = 0
    for name, number in calls if phase == "commit" else spread(calls, STRIKES):
        path, said, trace = scene.live("-e", f"inject={name}:{fault}:when={number}")
        try:
            killed = "+++ killed by SIGKILL +++" in trace
            struck += killed or "(INJECTED)" in trace
            if fault == "error=EINTR":
                assert said[-1] == "closed"
                assert not [line for line in said if line.startswith(("refused", "not"))]
            assert killed or said[-1].startswith(("closed", "not"))
            check(path, said)
        except BaseException as error:
            error.add_note(f"{fault} at {name} number {number} of {calls}; the victim said {said}")
            raise
    assert struck
