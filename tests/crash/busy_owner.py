"""An owner that never rests: commits, and checkpoints all the time. python -m tests.crash.busy_owner PATH

Each commit writes the same number in three places, so that half of one would show. Says "ready" once there is something
to read; ends when its standard input does: cleanly, or by a signal to itself if it had read "kill".
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
