"""A child that the program forks has no thread of its parent's but one: what is noted of the others is void there."""

import subprocess
import sys

import pytest

from tests.actors.stage import FAILSAFE_S

THREADS = """
import os, sys, threading
import inmem
from inmem.actors.dispatch import reentrancy

db = inmem.open(sys.argv[1] + "-parent", dispatcher="threads")
db.put("run", "k", 1)
assert reentrancy.own_threads and reentrancy.handler_threads
child = os.fork()
if child == 0:
    # The system may give a new thread here the ident of any of those.
    assert not reentrancy.own_threads and not reentrancy.handler_threads
    with inmem.open(sys.argv[1] + "-child") as own:
        def put():
            versions.append(own.kv.futures.put("run", "k", 1).get(timeout=20))

        versions = []
        threads = [threading.Thread(target=put) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(versions) == 20
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
db.close()
"""

WHILE_OPENING = """
import os, signal, sys, threading
import pykka
import inmem
from inmem.actors import system

class SlowDisk(system.FolderDisk):
    def __init__(self, *args, **named):
        opening.set()
        may_open.wait()
        super().__init__(*args, **named)

opening, may_open = threading.Event(), threading.Event()
system.FolderDisk = SlowDisk
stores = []
opener = threading.Thread(target=lambda: stores.append(inmem.open(sys.argv[1], dispatcher=sys.argv[2])))
opener.start()
opening.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    try:
        pykka.ActorRegistry.stop_all()
    except inmem.ForkedProcessError:
        os._exit(0)
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
may_open.set()
opener.join()
with stores[0] as db:
    assert db.put("run", "k", 1) == 1
"""


@pytest.mark.parametrize(
    ("script", "dispatcher"), [(THREADS, "threads"), (WHILE_OPENING, "caller"), (WHILE_OPENING, "threads")]
)
def test_a_child_is_not_held_up_by_what_its_parents_threads_were_doing(tmp_path, script, dispatcher):
    arguments = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "db"), dispatcher]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=FAILSAFE_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
