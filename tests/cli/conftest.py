"""Databases for the tests of commands, and fixtures that run commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import inmem
from inmem.cli.app import app
from inmem.recorder import record_files
from tests.recorder.transcripts import OWN


@pytest.fixture
def run(monkeypatch):
    """Run a command; the result has exit_code, stdout and stderr. An exception that escapes fails the test."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments):
        result = CliRunner(catch_exceptions=False).invoke(app, [str(each) for each in arguments])
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def run_json(run):
    """Run a command that must succeed, with --json, and return what it printed."""

    def run_json(*arguments):
        result = run(*arguments, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return run_json


@pytest.fixture
def start():
    """Start a command in a separate process, which is killed after the test, and return the process."""
    environment = {**os.environ, "PYTHONPATH": str(Path(inmem.__file__).parent.parent), "PYTHONUNBUFFERED": ""}
    processes = []

    def start(*arguments):
        command = [sys.executable, "-m", "inmem", *map(str, arguments)]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def on_terminal(monkeypatch):
    """Make commands believe that they write to a terminal with this many columns."""

    def on_terminal(columns):
        for module in ("output", "runs"):
            monkeypatch.setattr(f"inmem.cli.{module}.is_terminal", lambda _stream: True)
        monkeypatch.setenv("COLUMNS", str(columns))

    return on_terminal


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """A database of the package's own transcripts. For reading only."""
    path = tmp_path_factory.mktemp("recorded") / "own.db"
    with inmem.open(path) as db:
        # One agent, so that the runs are in the order of the files.
        record_files(db, OWN, agents=1)
    return path


@pytest.fixture(scope="session")
def odd(tmp_path_factory):
    """A database of values and names that are hard to show. For reading only."""
    path = tmp_path_factory.mktemp("odd") / "odd.db"
    with inmem.open(path, durability="never") as db:
        db.runs.create_run("run-1", tags=["a", "b"], metadata={"blob": b"\x00\xff"})
        db.runs.create_run("run-10", parent="run-1")
        db.runs.create_run("old")
        db.runs.archive_run("old")
        db.runs.fail_run("run-10", "went wrong\x1b[2J")
        db.kv.put("run-1", "bytes", b"\x00\xff")
        db.kv.put("run-1", "nan", [float("nan"), float("-inf"), 1.5, None, True])
        db.kv.put("run-1", "lines", "one\ntwo\x1b[31m\ttabs \u202eevil 🚢 日本\u3000語")
        db.kv.put("run-1", "key\x07", 1)
        db.kv.put("unregistered", "k", {"a": 1})
        db.events.append("run-1", "evil\x1b]0;title\x07", {"text": "\x1b[2J", "n": b"x"})
        for at in range(5):
            db.events.append("run-1", "plain", at)
        db.cells.init("run-1", "phase", {"step": 1})
        root = db.traces.record("run-1", inmem.Thought("think\x1b[2J"))
        db.traces.record_child("run-1", root.id, inmem.Query("sql", "select 1", 4))
        db.traces.record_child("run-1", root.id, inmem.ErrorTrace("Fatal", "boom"))
        db.traces.record_with_options("run-1", inmem.Custom("note", [1]), tags=["t"], metadata={"m": b"x"})
        db.traces.record("run-1", inmem.ToolCall("slow", None, None, 2500))
    return path
