"""Processes that commit until they are ended.

Each does the pieces of `tests/actors/workload.py`, every thread in its own run, continuing where the last process
stopped. Once a piece is acknowledged, it writes "name number" to standard output in one system call.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable

import inmem
from tests.actors.workload import numbers_of, piece

TERMINATED = 7
"""The exit code of processes that handle SIGTERM."""


def _open(path: str, durability: str, dispatcher: str) -> inmem.Database:
    db = inmem.open(path, durability=durability, dispatcher=dispatcher, sync_interval=0.002, shards=2)
    os.write(1, b"ready\n")
    return db


def _work(db: inmem.Database, name: str, done: Callable[[], object] = lambda: None) -> None:
    number = len(numbers_of(db, name))
    while True:
        db.transaction(name, lambda txn, number=number: piece(txn, name, number))
        os.write(1, f"{name} {number}\n".encode())
        number += 1
        done()


def commit_until_killed(path: str, durability: str, dispatcher: str, threads: str) -> None:
    """Commit in several threads, with a checkpoint always in progress."""
    db = _open(path, durability, dispatcher)

    def checkpoints() -> None:
        while True:
            db.checkpoint()

    works = [threading.Thread(target=_work, args=(db, f"worker-{n}")) for n in range(int(threads))]
    works.append(threading.Thread(target=checkpoints))
    for thread in works:
        thread.start()
    for thread in works:
        thread.join()


def commit_until_terminated(path: str, durability: str, dispatcher: str, threads: str) -> None:
    """Commit in the main thread, and further threads if requested, until a handler of SIGTERM ends the program."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    db = _open(path, durability, dispatcher)
    for number in range(1, int(threads)):
        _daemon(db, f"worker-{number}")
    _work(db, "worker-0")


def leave_open(path: str, durability: str, dispatcher: str, threads: str) -> None:
    """Reach the end of the program while daemon threads are still committing."""
    db = _open(path, durability, dispatcher)
    enough = threading.Semaphore(0)
    for number in range(int(threads)):
        _daemon(db, f"worker-{number}", enough.release)
    for _ in range(20):
        enough.acquire()


def _daemon(db: inmem.Database, name: str, done: Callable[[], object] = lambda: None) -> None:
    def until_it_is_closed() -> None:
        try:
            _work(db, name, done)
        except inmem.DatabaseClosedError:
            return

    threading.Thread(target=until_it_is_closed, daemon=True).start()
