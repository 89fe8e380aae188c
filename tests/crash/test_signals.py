"""Signals in the middle of commits, whoever handles them, and programs that end with the store open."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import inmem
from inmem.actors.files.folder_disk import FolderDisk
from inmem.engine.log.recovery import recover
from tests.actors.workload import numbers_of
from tests.crash.acknowledged import check, live
from tests.crash.committer import TERMINATED

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


ALARMED = """
import signal, sys
import inmem
from tests.actors.workload import numbers_of, piece

class Alarm(Exception):
    pass

armed = False

def strike(*_):
    global armed
    if armed:
        armed = False
        raise Alarm

db = inmem.open(sys.argv[1], dispatcher=sys.argv[2], durability=sys.argv[3])
number = alarms = 0
signal.signal(signal.SIGALRM, strike)
signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0013)
while alarms < int(sys.argv[4]):
    try:
        while True:
            # Every time: Python drops an exception that strikes while it disposes of an object.
            armed = True
            db.transaction("ada", lambda txn: piece(txn, "ada", number))
            number += 1
    except Alarm:
        alarms += 1
        # Whether the one in flight has committed is seen by looking, behind another commit.
        db.put("settled", "k", alarms)
        number = max(numbers_of(db, "ada"), default=-1) + 1
signal.setitimer(signal.ITIMER_REAL, 0)
assert db.stats().in_flight == 0, db.stats()
db.close()
print("closed", number, flush=True)
"""


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("durability", ["always", "never"])
def test_a_handler_of_the_programs_own_that_raises_harms_nothing(tmp_path, dispatcher, durability):
    """As time limits are made of SIGALRM: the exception reaches the program, and the handle works afterwards."""
    count = 150
    command = [sys.executable, "-c", ALARMED, str(tmp_path / "db"), dispatcher, durability, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("closed")
    with inmem.open(tmp_path / "db") as db:
        assert numbers_of(db, "ada") == set(range(int(done.stdout.split()[1])))
        assert db.get("settled", "k") == count
        assert db.verify().is_valid


def was_closed_cleanly(path: Path) -> bool:
    return recover(FolderDisk(str(path), read_only=True), 2)[1].is_clean


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_terminated_with_nobody_to_handle_it(victims, tmp_path, durability, dispatcher):
    """SIGTERM ends a process as a kill does then: without a word, and without a loss."""
    for lines in (-1, 3, 30):
        acked, code = live(
            victims, "commit_until_killed", tmp_path / "db", durability, dispatcher, lines=lines, signum=signal.SIGTERM
        )
        assert code == -signal.SIGTERM
        check(tmp_path / "db", acked)


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_terminated_with_a_handler_that_ends_the_program(victims, tmp_path, durability, dispatcher):
    """SystemExit is raised somewhere in the middle of a commit; the store is closed on the way out, cleanly."""
    for lines in range(0, 40, 5):
        acked, code = live(
            victims,
            "commit_until_terminated",
            tmp_path / "db",
            durability,
            dispatcher,
            lines=lines,
            signum=signal.SIGTERM,
        )
        assert code == TERMINATED
        assert was_closed_cleanly(tmp_path / "db")
        check(tmp_path / "db", acked)


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_a_program_that_ends_while_daemon_threads_commit(victims, tmp_path, durability, dispatcher):
    for _ in range(4):
        acked, code = live(victims, "leave_open", tmp_path / "db", durability, dispatcher, lines=10**9, signum=0)
        assert code == 0
        assert was_closed_cleanly(tmp_path / "db")
        check(tmp_path / "db", acked)


LEFT_OPEN = """
import atexit
import signal
import sys
import threading
import inmem

def refuse(*_):
    raise RuntimeError("can't create new thread at interpreter shutdown")

def start_no_more_threads():
    # As Python 3.12 has it. This runs before the store is closed, since it was registered later.
    threading.Thread.start = refuse

end = sys.argv[4]
if end == "exposed":
    # The main thread runs no actors then, not even to close the store.
    signal.signal(signal.SIGTERM, lambda *_: None)
db = inmem.open(sys.argv[1], durability=sys.argv[2], sync_interval=3000, dispatcher=sys.argv[3])
for number in range(50):
    db.put("run", f"k{number}", number)
if end in {"no threads", "exposed"}:
    atexit.register(start_no_more_threads)
if end == "exit":
    sys.exit(3)
if end == "raise":
    raise ValueError("on purpose")
"""


@pytest.mark.parametrize("end", ["fall off", "exit", "raise", "no threads", "exposed"])
@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_a_program_that_ends_with_the_store_open(tmp_path, durability, dispatcher, end):
    command = [sys.executable, "-c", LEFT_OPEN, str(tmp_path / "db"), durability, dispatcher, end]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == {"exit": 3, "raise": 1}.get(end, 0), done.stderr
    # The lines of a traceback are indented; Python 3.13 shows those of a program given by -c too.
    assert [line for line in done.stderr.splitlines() if "Error" in line and not line.startswith(" ")] == (
        ["ValueError: on purpose"] if end == "raise" else []
    )
    assert was_closed_cleanly(tmp_path / "db")
    with inmem.open(tmp_path / "db") as db:
        assert len(db.kv.list("run")) == 50


STRUCK_AT_THE_END = """
import os
import sys
import inmem
from inmem.actors.dispatch.mailbox import MailboxRef
from inmem.actors.messages.control import Close

class Saver:
    def __init__(self, db):
        # Python collects the cycle at its very end.
        self.myself, self.db, self.write = self, db, os.write

    def __del__(self):
        try:
            self.db.put("run", "last", 1)
        except BaseException as error:
            self.write(1, type(error).__name__.encode())

def struck(ref, message, *arguments, **options):
    if isinstance(message, Close):
        MailboxRef.ask = ask
        raise KeyboardInterrupt
    return ask(ref, message, *arguments, **options)

saver = Saver(inmem.open(sys.argv[1], dispatcher=sys.argv[2]))
saver.db.put("run", "k", 1)
ask, MailboxRef.ask = MailboxRef.ask, struck
"""


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_ctrl_c_while_the_end_closes_the_store_leaves_no_finalizer_waiting(tmp_path, dispatcher):
    command = [sys.executable, "-c", STRUCK_AT_THE_END, str(tmp_path / "db"), dispatcher]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert "KeyboardInterrupt" in done.stderr
    assert done.stdout == "DatabaseClosedError"
    with inmem.open(tmp_path / "db") as db:
        assert db.get("run", "k") == 1


HANDLER_WRITES = """
import faulthandler
import signal
import sys
import inmem

faulthandler.dump_traceback_later(50, exit=True)
alarms = puts = 0

def on_alarm(*_):
    global alarms
    alarms += 1
    db.put("log", "alarms", alarms)
    if alarms < 300:
        signal.setitimer(signal.ITIMER_REAL, 0.001)

# Before the store has any thread: one that is being started is interrupted as well.
db = inmem.open(sys.argv[1], dispatcher=sys.argv[2], durability=sys.argv[3])
signal.signal(signal.SIGALRM, on_alarm)
signal.setitimer(signal.ITIMER_REAL, 0.0005)
while alarms < 300:
    puts += 1
    db.put("run", "puts", puts)
assert (db.get("log", "alarms"), db.get("run", "puts")) == (alarms, puts)
db.close()
"""


@pytest.mark.parametrize("durability", ["always", "never"])
@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_a_handler_that_writes_to_the_store_gets_its_answer_and_harms_nobody(tmp_path, dispatcher, durability):
    command = [sys.executable, "-c", HANDLER_WRITES, str(tmp_path / "db"), dispatcher, durability]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert was_closed_cleanly(tmp_path / "db")


ONE_CANNOT_CLOSE = """
import sys
import inmem
from inmem.actors.files.log_file import LogFile

folder, count, bad = sys.argv[1], int(sys.argv[2]), set(sys.argv[3:])
stores = [inmem.open(f"{folder}/{number}", durability="never") for number in range(count)]
for db in stores:
    db.put("run", "k", 1)
sync = LogFile.sync

def fail(file):
    if {part for part in file._path.split("/")} & bad:
        raise OSError(5, "Input/output error")
    sync(file)

LogFile.sync = fail
"""


@pytest.mark.parametrize("bad", [{"2"}, {"0", "3"}])
def test_a_store_that_cannot_be_closed_at_the_end_keeps_no_other_from_it(tmp_path, bad):
    command = [sys.executable, "-c", ONE_CANNOT_CLOSE, str(tmp_path), "4", *bad]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    [line] = [line for line in done.stderr.splitlines() if line.startswith("inmem.StorageError: /")]
    for name in bad:
        assert f"{tmp_path / name}: the log could not be made durable" in line
    for name in {"0", "1", "2", "3"} - bad:
        assert was_closed_cleanly(tmp_path / name)
    for name in ("0", "1", "2", "3"):
        with inmem.open(tmp_path / name) as db:
            assert db.get("run", "k") == 1


@pytest.mark.parametrize("end", ["no threads", "exposed"])
@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_a_store_in_memory_is_closed_when_no_thread_can_be_started_any_more(dispatcher, end):
    """Its log has no thread until then: nothing was ever synced."""
    command = [sys.executable, "-c", LEFT_OPEN, ":memory:", "always", dispatcher, end]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
