"""Ctrl-C in the middle of commits, and programs that end with the store open."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import inmem
from tests.actors.workload import numbers_of

ROOT = Path(__file__).parents[2]

INTERRUPTED = """
import sys
import inmem
from tests.actors.workload import numbers_of, piece

db = inmem.open(sys.argv[1], dispatcher=sys.argv[2], durability=sys.argv[3])
number = interrupts = 0
was_interrupted = is_ready = False
while interrupts < int(sys.argv[4]):
    try:
        if not is_ready:
            is_ready = True
            print("ready", flush=True)
        while interrupts < int(sys.argv[4]):
            db.transaction("ada", lambda txn: piece(txn, "ada", number))
            number += 1
            if was_interrupted:
                was_interrupted = False
                interrupts += 1
                # The next one comes after this line, not before.
                print("interrupted", flush=True)
    except KeyboardInterrupt:
        # Whether the one in flight has committed is seen by looking, behind another commit.
        was_interrupted = True
        db.put("settled", "k", interrupts)
        number = max(numbers_of(db, "ada"), default=-1) + 1
assert db.stats().in_flight == 0, db.stats()
db.close()
print("closed", number, flush=True)
"""


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("durability", ["always", "never"])
def test_the_handle_works_after_ctrl_c(tmp_path, dispatcher, durability):
    count = 100
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "db"), dispatcher, durability, str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert process.stdout.readline() == "ready\n"
        for _ in range(count):
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n", process.stderr.read()
        closed = process.stdout.readline()
        assert closed.startswith("closed"), process.stderr.read()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)
        process.stdout.close()
        process.stderr.close()
    with inmem.open(tmp_path / "db") as db:
        numbers = numbers_of(db, "ada")
        assert numbers == set(range(int(closed.split()[1])))
        assert db.get("settled", "k") == count - 1


LEFT_OPEN = """
import sys
import inmem
db = inmem.open(sys.argv[1], durability=sys.argv[2], sync_interval=3000, dispatcher=sys.argv[3])
for number in range(50):
    db.put("run", f"k{number}", number)
if sys.argv[4] == "exit":
    sys.exit(3)
if sys.argv[4] == "raise":
    raise RuntimeError("on purpose")
"""


@pytest.mark.parametrize("end", ["fall off", "exit", "raise"])
@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_a_program_that_ends_with_the_store_open(tmp_path, durability, dispatcher, end):
    command = [sys.executable, "-c", LEFT_OPEN, str(tmp_path / "db"), durability, dispatcher, end]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == {"fall off": 0, "exit": 3, "raise": 1}[end], done.stderr
    with inmem.open(tmp_path / "db") as db:
        assert len(db.kv.list("run")) == 50
