"""Start-up: importing the package, and opening an empty store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.contender import Doing, Inmem, Store, increments
from benchmarks.measure import Figure, Result, Settings, Subject, Target, timed
from benchmarks.peers import Lmdb, Sqlite, Zodb

if TYPE_CHECKING:
    from pathlib import Path


def _import(settings: Settings) -> Result:
    """Measure the time of a new interpreter with the import minus that of one without, alternately."""
    modules = {"inmem": "inmem", "sqlite3": "sqlite3", "lmdb": "lmdb", "ZODB": "ZODB", "diskcache": "diskcache"}
    result = Result()
    empty = "pass"
    for name, module in modules.items():
        rounds: list[float] = []
        for _ in range(max(3, settings.rounds)):
            with_import = _interpreter_ms(f"import {module}")
            if with_import is None:
                result.skipped.append(f"{name}: skipped, it is not installed")
                break
            rounds.append(max(0.0, with_import - (_interpreter_ms(empty) or 0.0)))
        else:
            result.figures.append(Figure(name, "ms", rounds))
    return result


def _interpreter_ms(code: str) -> float | None:
    # As for a user, for whom installed packages have their bytecode cached.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    completed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, env=variables)  # noqa: S603  (our own code)
    return None if completed.returncode else (time.perf_counter() - started) * 1000


def _open_empty(settings: Settings) -> Result:
    """Measure creating an empty store that is ready for a durable commit, and closing it."""
    stores: list[Store] = [Inmem("always", name="inmem"), Sqlite("FULL"), Lmdb(sync=True), Zodb()]
    result = Result()
    for store in stores:
        missing = Doing(store, increments).missing()
        if missing is not None:
            result.skipped.append(f"{store.name}: skipped, {missing} is not installed")
            continue
        result.figures.append(Figure(store.name, "ms", []))
    for attempt in range(max(5, settings.rounds)):
        for number, figure in enumerate(result.figures):
            store = next(store for store in stores if store.name == figure.name)
            folder: Path = settings.folder / f"open-{attempt}-{number}"
            figure.rounds.append(timed(lambda store=store, folder=folder: _open_and_close(store, folder)) * 1000)
    return result


def _open_and_close(store: Store, folder: Path) -> None:
    store.open(folder)
    store.close()


SUBJECTS = (
    Subject("import", "import time", _import, (Target("inmem", at_most=150),)),
    Subject("open-empty", "creating and closing an empty store", _open_empty),
)
