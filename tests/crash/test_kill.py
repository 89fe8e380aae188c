"""kill -9 under load, many times: what was acknowledged is there, nothing is there by half, and the lock is free.

INMEM_KILLS sets how many kills each variant gets; the default suits a continuous integration run.
"""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import inmem
from tests.actors.workload import check_no_hole, numbers_of

KILLS = int(os.environ.get("INMEM_KILLS", "9"))
THREADS = 3
WORKERS = [f"worker-{n}" for n in range(THREADS)]
ROOT = Path(__file__).parents[2]


def run_and_kill(path: Path, durability: str, dispatcher: str, lines: int, signum: int) -> dict[str, int]:
    """Let a process acknowledge about that many pieces, kill it, and return the last one of each worker."""
    command = [sys.executable, "-m", "tests.crash.committer", str(path), durability, dispatcher, str(THREADS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stderr is not None
    acked: dict[str, int] = {}
    try:
        first = process.stdout.readline()
        assert first == b"ready\n", process.stderr.read().decode()
        for count, line in enumerate(process.stdout):
            # A line cut short was not wholly written, so the rest of it tells nothing.
            if line.endswith(b"\n"):
                name, number = line.split()
                acked[name.decode()] = int(number)
            if count == lines:
                process.send_signal(signum)
    finally:
        process.kill()
        process.stdout.close()
        process.wait(60)
        process.stderr.close()
    assert process.returncode == -signum
    return acked


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("durability", ["always", "interval"])
def test_killed_under_load(tmp_path, durability, dispatcher):
    """The system survives, so that what was written is there in either mode, synced or not."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for kill in range(KILLS):
        where = f"kill {kill}, seed {seed}"
        acked = run_and_kill(tmp_path / "db", durability, dispatcher, chance.randrange(120), signal.SIGKILL)
        with inmem.open(tmp_path / "db") as db:
            for name in WORKERS:
                numbers = numbers_of(db, name)
                assert numbers == set(range(len(numbers))), where
                assert acked.get(name, -1) < len(numbers), where
            check_no_hole(db, WORKERS)
            assert db.verify().is_valid, where


def test_terminated_under_load(tmp_path):
    acked = run_and_kill(tmp_path / "db", "always", "caller", 30, signal.SIGTERM)
    with inmem.open(tmp_path / "db") as db:
        for name in WORKERS:
            assert acked.get(name, -1) < len(numbers_of(db, name))
        check_no_hole(db, WORKERS)
