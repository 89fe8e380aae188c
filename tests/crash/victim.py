"""A short life of a store, for tests that make its system calls fail: python -m tests.crash.victim PATH DURABILITY.

Writes "acked n" once commit n is acknowledged and "refused n ErrorName" when it was not, "checkpoint" and "closed".
"""

import os
import sys

import inmem
from tests.actors.workload import piece

COMMITS = 3


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def main() -> None:
    path, durability = sys.argv[1:]
    try:
        db = inmem.open(path, durability=durability)
    except inmem.InmemError as error:
        say(f"not-opened {type(error).__name__}")
        return
    say("ready")
    for number in range(2 * COMMITS):
        try:
            db.transaction("ada", lambda txn, number=number: piece(txn, "ada", number))
        except inmem.InmemError as error:
            say(f"refused {number} {type(error).__name__}")
        else:
            say(f"acked {number}")
        if number == COMMITS - 1:
            try:
                db.checkpoint()
            except inmem.InmemError as error:
                say(f"no-checkpoint {type(error).__name__}")
            else:
                say("checkpoint")
    try:
        db.close()
    except inmem.InmemError as error:
        say(f"close {type(error).__name__}")
    else:
        say("closed")


if __name__ == "__main__":
    main()
