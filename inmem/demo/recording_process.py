"""A recording in a separate process, which can be watched from outside and killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import inmem
from inmem import DatabaseNotFoundError, InmemError
from inmem.recorder.steps import CURSOR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inmem import Database

_POLL_INTERVAL_S = 0.01
_PATIENCE_S = 60.0


class DemoError(InmemError):
    """The demonstration did not go as described."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The progress of a recording: the number of messages by run, from one snapshot."""

    messages: dict[str, int]

    @property
    def total(self) -> int:
        """The number of messages in all runs."""
        return sum(self.messages.values())


def recorded_in(db: Database) -> Recorded:
    """Return the progress of the recording in `db`.

    Raises:
        DemoError: the cursor of a run does not agree with its events.
    """
    messages: dict[str, int] = {}
    with db.begin("demo") as txn:
        for run_id in txn.runs.list_runs():
            run = txn.on(run_id)
            messages[run_id] = run.events.len()
            cursor = run.cells.read(CURSOR)
            if cursor is None or cursor.value != messages[run_id]:
                raise DemoError(f"{run_id}: {messages[run_id]} events, but the cursor is {cursor}")
    return Recorded(messages)


class RecordingProcess:
    """A running ``python -m inmem record`` that pauses after every message."""

    def __init__(self, files: Sequence[Path], database: Path, *, agents: int, pace_s: float) -> None:
        options = ["--into", str(database), "--agents", str(agents), "--pace", str(pace_s), "--json"]
        # This process may have found the package through its `sys.path`, which another process does not inherit.
        found_in = str(Path(inmem.__file__).parent.parent)
        python_path = os.pathsep.join(filter(None, (found_in, os.environ.get("PYTHONPATH"))))
        self._database = database
        self._process = subprocess.Popen(  # noqa: S603  our own program, with our own arguments
            [sys.executable, "-m", "inmem", "record", *map(str, files), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": python_path},
            text=True,
        )

    def watch_until(self, is_enough: Callable[[Recorded], bool]) -> Recorded:
        """Look at the database from outside, while the process writes to it, until `is_enough` returns True.

        Raises:
            DemoError: the process ended before that, or takes far too long.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            seen = self._look()
            if is_enough(seen):
                return seen
            if self._process.poll() is not None:
                raise DemoError(f"the recording ended too early: {self._output()[1] or 'no error message'}")
            time.sleep(_POLL_INTERVAL_S)
        self.kill()
        raise DemoError("the recording is making no progress")

    def kill(self) -> None:
        """Kill the process with SIGKILL, which it cannot catch, and wait for its end."""
        self._process.kill()
        self._output()

    def finish(self) -> dict[str, Any]:
        """Wait for the recording to end and return its summary.

        Raises:
            DemoError: the recording failed.
        """
        stdout, stderr = self._output()
        if self._process.returncode != 0:
            raise DemoError(f"the recording failed: {stderr.strip()}")
        summary: dict[str, Any] = json.loads(stdout)
        return summary

    def _look(self) -> Recorded:
        try:
            with inmem.open(self._database, create=False, read_only=True) as db:
                return recorded_in(db)
        except DatabaseNotFoundError:
            return Recorded({})

    def _output(self) -> tuple[str, str]:
        try:
            return self._process.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()
