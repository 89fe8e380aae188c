"""The short life of a store in a process, for tests that make its system calls fail.

The process prints the outcome of each step: "acked n" once commit n is acknowledged, "refused n ErrorName" if it was
refused, "checkpoint", "closed", or the error that refused them. The phase in which the test makes calls fail begins
when the test releases the victim through a fifo beside the database. It ends with an access to a file called "mark".
"""

import ctypes
import os

import inmem
from inmem.engine.log import group_commit
from tests.actors.workload import numbers_of, piece

PR_SET_PTRACER = 0x59616D61
PR_SET_PTRACER_ANY = -1


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


class Life:
    def __init__(self, path: str, durability: str) -> None:
        self._path = path
        self._durability = durability
        self._number = 0
        self.db: inmem.Database | None = None

    def open(self) -> None:
        self.db = inmem.open(self._path, durability=self._durability, sync_interval=0.001)
        self._number = len(numbers_of(self.db, "ada"))
        say("opened")

    def commit(self) -> None:
        number = self._number
        self._number += 1
        try:
            self.db.transaction("ada", lambda txn: piece(txn, "ada", number))
        except inmem.InmemError as error:
            say(f"refused {number} {type(error).__name__}")
        else:
            say(f"acked {number}")

    def try_to(self, done: str, function: str) -> None:
        try:
            getattr(self.db, function)()
        except inmem.InmemError as error:
            say(f"not {done}: {type(error).__name__}")
        else:
            say(done)

    def commit_and_flush(self) -> None:
        """Commit and flush. In weaker modes a commit is acknowledged before its sync; the flush puts the sync here."""
        self.commit()
        self.try_to("flushed", "flush")

    def switch_segments(self) -> None:
        """Fill a segment, so that the commit starts a checkpoint; the flush comes after the switch."""
        group_commit.SEGMENT_BYTES_MAX = 64
        self.commit_and_flush()
        group_commit.SEGMENT_BYTES_MAX = 1 << 26
        self.try_to("checkpoint", "checkpoint")

    def wait_for_the_tracer(self) -> None:
        # On machines with a strict policy (Yama), a tracer that is not an ancestor needs permission.
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)
        say("ready")
        os.close(os.open(f"{self._path}.go", os.O_RDONLY))

    def mark(self) -> None:
        # A system call that the store never makes, so it is not counted among the calls that may fail.
        os.access(f"{self._path}.mark", os.F_OK)


def live(path: str, durability: str, phase: str) -> None:
    """Run up to the phase, wait for the tracer, run the phase, and continue after it."""
    life = Life(path, durability)
    phases = {
        "open": life.open,
        "commit": life.commit_and_flush,
        "segment": life.switch_segments,
        "checkpoint": lambda: life.try_to("checkpoint", "checkpoint"),
        "close": lambda: life.try_to("closed", "close"),
    }
    if phase != "open":
        life.open()
        for _ in range(2):
            life.commit()
        # In every mode, no work of earlier steps is left for the phase.
        life.db.flush()
    life.wait_for_the_tracer()
    try:
        phases[phase]()
        life.mark()
    except inmem.InmemError as error:
        say(f"not opened: {type(error).__name__}")
        return
    if phase != "close":
        for _ in range(2):
            life.commit()
        life.try_to("closed", "close")
