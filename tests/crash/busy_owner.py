"""An owner that commits and writes checkpoints without pause. python -m tests.crash.busy_owner PATH

Each commit writes the same number in three places, so that half a commit would show. The process prints "ready" once
there is something to read. It ends at the end of its standard input: cleanly, or with SIGKILL if it has read "kill".
"""

import os
import signal
import sys
import threading

import inmem

COMMITS_PER_CHECKPOINT = 7


def main() -> None:
    last_words: list[str] = []
    reader = threading.Thread(target=lambda: last_words.append(sys.stdin.read()), daemon=True)
    reader.start()
    with inmem.open(sys.argv[1], durability="interval") as db:
        number = 0
        while not last_words:
            with db.begin("run") as txn:
                txn.put("a", number)
                txn.events.append("number", number)
                txn.on("other").kv.put("a", number)
            if number == 0:
                os.write(1, b"ready\n")
            number += 1
            if number % COMMITS_PER_CHECKPOINT == 0:
                db.checkpoint()
        if last_words == ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
