"""Run a process of `committer.py` for a while, and check that the commits acknowledged to it are recovered."""

from pathlib import Path

import inmem
from tests.actors.workload import check_no_hole, numbers_of
from tests.crash.nursery import Nursery

THREADS = 3
WORKERS = [f"worker-{n}" for n in range(THREADS)]


def live(
    victims: Nursery, life: str, path: Path, durability: str, dispatcher: str, *, lines: int, signum: int
) -> tuple[dict[str, int], int]:
    """Let a process acknowledge about `lines` pieces, then send it a signal; if `lines` is negative, signal it at once.

    Returns:
        the last acknowledged piece of each worker, and the exit code.
    """
    acked: dict[str, int] = {}
    with victims.victim(f"tests.crash.committer:{life}", str(path), durability, dispatcher, str(THREADS)) as victim:
        if lines < 0:
            victim.send_signal(signum)
        else:
            assert victim.said.readline() == b"ready\n"
        for count, line in enumerate(victim.said):
            # An incomplete line may contain only a part of the number.
            if line.endswith(b"\n") and line != b"ready\n":
                name, number = line.split()
                acked[name.decode()] = int(number)
            if count == lines:
                victim.send_signal(signum)
        return acked, victim.wait()


def check(path: Path, acked: dict[str, int]) -> None:
    """Check that acknowledged pieces are recovered; each worker's pieces are complete and a prefix; the versions have
    no gap; and the lock is free."""
    with inmem.open(path) as db:
        for name in WORKERS:
            numbers = numbers_of(db, name)
            assert numbers == set(range(len(numbers)))
            assert acked.get(name, -1) < len(numbers)
        check_no_hole(db, WORKERS)
        assert db.verify().is_valid
