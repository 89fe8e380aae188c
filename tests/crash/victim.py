"""A short life of a store, for tests that make its system calls fail.

Writes to standard output what has become of each step: "acked n" once commit n is acknowledged, "refused n ErrorName"
when it was not, "checkpoint", "closed", or what refused them. What the test strikes at begins when it has let the
victim on, through a fifo beside the database, and ends with a look for a file that is called "mark".
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
        """In the weaker modes a commit is acknowledged before its sync; with the flush both are in the phase."""
        self.commit()
        self.try_to("flushed", "flush")

    def switch_segments(self) -> None:
        """The commit that fills a segment starts a checkpoint; the flush comes behind the switch."""
        group_commit.SEGMENT_BYTES_MAX = 64
        self.commit_and_flush()
        group_commit.SEGMENT_BYTES_MAX = 1 << 26
        self.try_to("checkpoint", "checkpoint")

    def wait_for_the_tracer(self) -> None:
        # A tracer that is no ancestor needs leave, where the machine is strict.
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)
        say("ready")
        os.close(os.open(f"{self._path}.go", os.O_RDONLY))

    def mark(self) -> None:
        # A call that the store itself never makes, so that it does not count among those that are struck.
        os.access(f"{self._path}.mark", os.F_OK)


def live(path: str, durability: str, phase: str) -> None:
    """Live up to the phase, wait for the tracer, go through the phase, and go on living."""
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
        # Whatever the mode, nothing of what came before is left to do in the phase.
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
