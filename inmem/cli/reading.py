"""Opening a database to look at it, and finding the run that is meant."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

import inmem
from inmem.cli.errors import NoError

if TYPE_CHECKING:
    from collections.abc import Generator

    from inmem import Database, Transaction

_NAMES_SHOWN_MAX = 5

_database_type = click.Path(path_type=str)

database_argument = click.argument("database", metavar="DB", type=_database_type)
run_argument = click.argument("run", metavar="RUN")
json_option = click.option("--json", "as_json_output", is_flag=True, help="Print JSON instead of text.")


@contextmanager
def open_for_reading(path: str) -> Generator[Database]:
    """Open the database as it is now, without disturbing whoever is writing to it."""
    with inmem.open(path, create=False, read_only=True) as db:
        yield db


@contextmanager
def reading_run(path: str, name: str) -> Generator[Transaction]:
    """Open the database and begin a transaction in the run that `name` means: all is read from one snapshot."""
    with open_for_reading(path) as db:
        with db.begin(name) as any_run:
            run_id = find_run(any_run, name)
        with db.begin(run_id) as txn:
            yield txn


def find_run(txn: Transaction, name: str) -> str:
    """Return the id of the run that `name` is, or that alone begins with it.

    A run that was never registered has to be named in full.
    """
    if txn.runs.get_run(name) is not None:
        return name
    found = [run_id for run_id in txn.runs.list_runs(include_archived=True) if run_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    here = txn.on(name)
    if here.events.len() or here.kv.list(limit=1) or here.cells.list(limit=1) or here.traces.count():
        return name
    if not found:
        raise NoError(f"there is no run {name!r}")
    names = ", ".join(found[:_NAMES_SHOWN_MAX]) + (", …" if len(found) > _NAMES_SHOWN_MAX else "")
    raise click.UsageError(f"{len(found)} runs begin with {name!r}: {names}")
