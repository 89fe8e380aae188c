"""Ctrl-C ends every command with 130, however often it comes and wherever it strikes."""

import os
import signal
import threading
import time

import pytest

import inmem
from inmem.demo.recording_process import recorded_in
from tests.recorder.transcripts import OWN

FAILSAFE_S = 60
TOLD = "inmem: error: interrupted; run the same command again to resume\n"


def wait_until_recorded(database, count, process):
    while process.poll() is None:
        try:
            with inmem.open(database, create=False, read_only=True) as db:
                if recorded_in(db).total >= count:
                    return
        except inmem.DatabaseNotFoundError:
            pass
    pytest.fail(f"ended before: {process.communicate()}")


@pytest.mark.parametrize("distance_s", [0, 0.0005, 0.002, 0.02, 0.1, 0.3])
def test_twice_while_recording(start, tmp_path, distance_s):
    process = start("record", *OWN, "--into", tmp_path / "db", "--pace", "0.2")
    wait_until_recorded(tmp_path / "db", 5, process)

    process.send_signal(signal.SIGINT)
    time.sleep(distance_s)
    process.send_signal(signal.SIGINT)

    stdout, stderr = process.communicate(timeout=FAILSAFE_S)
    assert (process.returncode, stdout, stderr) == (130, "", TOLD)
    # It says so when everything has stopped: nobody holds the database, and it was closed.
    with inmem.open(tmp_path / "db", create=False) as db:
        assert 5 <= recorded_in(db).total < 90
        assert not db.verify().files.torn


def test_once_more_when_the_end_takes_long_ends_it_at_once_and_loses_nothing(start, tmp_path):
    process = start("record", *OWN, "--into", tmp_path / "db", "--agents", "1", "--pace", "3600")
    wait_until_recorded(tmp_path / "db", 1, process)

    # The agent waits for an hour, and is waited for.
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)

    assert process.communicate() == ("", "")
    assert process.returncode == 130
    with inmem.open(tmp_path / "db", create=False) as db:
        assert recorded_in(db).total == 1
        assert db.verify().is_valid


def test_while_the_recording_reads_from_a_pipe_that_says_nothing(start, tmp_path):
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    process = start("record", pipe, "--into", tmp_path / "db")
    # It can be opened for writing once it is being read.
    with pipe.open("wb"):
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=FAILSAFE_S)

    assert (process.returncode, stdout, stderr) == (130, "", TOLD)


def test_twice_while_importing_from_a_pipe_that_says_nothing(start, tmp_path):
    pipe = tmp_path / "run.jsonl"
    os.mkfifo(pipe)
    process = start("import", pipe, "--into", tmp_path / "db")
    with pipe.open("wb"):
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=FAILSAFE_S) == ("", "\n")
    assert process.returncode == 130


@pytest.mark.parametrize("distance_s", [0, 0.002, 0.1])
def test_twice_while_exporting_everything_into_a_pipe_that_is_not_read(start, tmp_path, distance_s):
    with inmem.open(tmp_path / "db", durability="never") as db:
        db.put("run", "k", "x" * 1_000_000)
    process = start("export", tmp_path / "db", "run")
    assert process.stdout.read(1) == "{"

    process.send_signal(signal.SIGINT)
    time.sleep(distance_s)
    process.send_signal(signal.SIGINT)

    _, stderr = process.communicate(timeout=FAILSAFE_S)
    assert (process.returncode, stderr) == (130, "\n")


@pytest.mark.parametrize("distance_s", [0, 0.002, 0.1])
def test_twice_during_the_demonstration_leaves_no_process_behind(start, tmp_path, distance_s):
    process = start("demo", "--keep", tmp_path)
    wait_until_recorded(tmp_path / "harbour.db", 5, process)

    # As a terminal does it: the recording process gets it, too.
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(distance_s)
    os.killpg(process.pid, signal.SIGINT)

    _, stderr = process.communicate(timeout=FAILSAFE_S)
    assert (process.returncode, stderr) == (130, "\n")
    inmem.open(tmp_path / "harbour.db", create=False).close()


@pytest.mark.parametrize("distance_s", [0, 0.002, 0.1])
def test_twice_ends_the_explorer_as_it_should_be(start, tmp_path, distance_s):
    inmem.open(tmp_path / "db").close()
    process = start("ui", tmp_path / "db")
    assert process.stdout.readline().startswith("http://")
    # It waits for its end from some moment after that on.
    threading.Event().wait(0.2)

    process.send_signal(signal.SIGINT)
    time.sleep(distance_s)
    process.send_signal(signal.SIGINT)

    assert process.communicate(timeout=FAILSAFE_S) == ("", "")
    assert process.returncode == 0
