"""`inmem delete`."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import inmem


@pytest.fixture
def database(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        for name in ("trip", "trip-2", "kept"):
            db.begin_run(name)
            db.events.append(name, "e")
        db.put("loose", "k", 1)
        db.cells.init("loose", "c", 1)
        db.cells.delete("loose", "c")
    return tmp_path / "db"


def left(database):
    with inmem.open(database, create=False) as db:
        assert db.verify().is_valid
        return [*db.runs.list_runs(), *db.unregistered_runs()]


def test_runs_are_deleted_registered_or_not(run, run_json, database):
    told = run("delete", database, "trip", "loose", "trip", "--yes")
    assert (told.exit_code, told.stdout, told.stderr) == (0, "trip: deleted\nloose: deleted\n", "")
    assert left(database) == ["trip-2", "kept"]
    assert run_json("delete", database, "trip-2", "--yes") == ["trip-2"]
    assert left(database) == ["kept"]


@pytest.mark.parametrize("name", ["tri", "kep", "", "nobody"])
def test_only_a_whole_name_is_deleted_and_all_of_them_or_none(run, database, name):
    refused = run("delete", database, "trip", name, "--yes")
    assert refused.stdout == ""
    if name:
        assert refused.exit_code == 1
        assert refused.stderr == (f"inmem: error: no run is named exactly {name!r}. Try: inmem runs {database}\n")
    assert left(database) == ["trip", "trip-2", "kept", "loose"]


def test_without_a_terminal_it_takes_a_yes(run, database):
    refused = run("delete", database, "trip")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == "inmem: error: not a terminal: pass --yes to delete without asking\n"
    # What nobody could delete is said first: with --yes it would be no better.
    for names in (["nosuchrun"], ["trip", "nosuchrun"]):
        missing = run("delete", database, *names)
        assert (missing.exit_code, missing.stdout) == (1, "")
        assert missing.stderr.startswith("inmem: error: no run is named exactly 'nosuchrun'. Try: ")
    assert len(left(database)) == 4


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 1), (b"\n", 1), (b"\x03", 130), (b"\x04", 1)])
def test_on_a_terminal_it_shows_what_it_is_and_asks(database, answer, code):
    environment = {**os.environ, "PYTHONPATH": str(Path(inmem.__file__).parent.parent), "TERM": "xterm"}
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "inmem", "delete", str(database), "trip", "loose"]
    received = b""
    with subprocess.Popen(
        command, env=environment, stdin=end, stdout=end, stderr=end, start_new_session=True
    ) as process:
        while b"[y/N]" not in received:
            received += os.read(terminal, 4096)
        if answer == b"\x03":
            # One that comes before the process waits for its input is noticed when another wakes it.
            while process.poll() is None:
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
        else:
            os.write(terminal, answer)
        assert process.wait(60) == code
    os.close(end)
    # At the end, Linux reports an error instead of an end of file.
    with contextlib.suppress(OSError):
        while more := os.read(terminal, 4096):
            received += more
    os.close(terminal)
    assert b"trip: Active, 0 keys, 1 event, 0 cells, 0 traces\r\n" in received
    assert b"loose: unregistered, 1 key, 0 events, 1 cell (1 of them deleted), 0 traces\r\n" in received
    assert b"Delete 2 runs? [y/N]" in received
    assert received.endswith(b"\r\nnothing was deleted\r\n") == (code == 1)
    assert len(left(database)) == (2 if code == 0 else 4)
