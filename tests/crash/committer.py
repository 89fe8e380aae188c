"""A process that commits until it is killed: python -m tests.crash.committer PATH DURABILITY DISPATCHER THREADS.

Each thread does the pieces of `tests/actors/workload.py` in a run of its own, beginning where the last process stopped,
and writes "name number" to standard output, in one system call, once a piece is acknowledged.
"""

import os
import sys
import threading

import inmem
from tests.actors.workload import numbers_of, piece


def main() -> None:
    path, durability, dispatcher, threads = sys.argv[1:]
    db = inmem.open(path, durability=durability, dispatcher=dispatcher, sync_interval=0.002, shards=2)
    os.write(1, b"ready\n")

    def work(name: str) -> None:
        number = len(numbers_of(db, name))
        while True:
            db.transaction(name, lambda txn, number=number: piece(txn, name, number))
            os.write(1, f"{name} {number}\n".encode())
            number += 1

    def checkpoints() -> None:
        while True:
            db.checkpoint()

    works = [threading.Thread(target=work, args=(f"worker-{n}",)) for n in range(int(threads))]
    works.append(threading.Thread(target=checkpoints))
    for thread in works:
        thread.start()


if __name__ == "__main__":
    main()
