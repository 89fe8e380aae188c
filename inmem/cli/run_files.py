"""`inmem export`: writes runs to files."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click

import inmem
from inmem.amounts import counted
from inmem.cli.contents import contents_in_words
from inmem.cli.examples import example
from inmem.cli.progress import progress
from inmem.cli.reading import database_argument, open_for_reading, optional_run_argument, resolve_run
from inmem.invisible import printable
from inmem.otlp import run_to_otlp
from inmem.user_file import opened_for_writing, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem import Database, RunExport

    _Write = Callable[[Database, str, str | BinaryIO, Callable[[int, int], None]], str]
    """Writes a run, reports its progress, and returns in words what it has written."""

STREAM: Final = "-"
"""The file name that means standard input or output."""

_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_CHARS_MAX: Final = 60
"""Enough to recognize a run; the file contains its full id."""


@click.command(epilog=example("inmem export demo/harbour.db night-watch/0000 --out storm.jsonl"))
@database_argument
@optional_run_argument
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=str),
    help="Write to FILE instead of standard output.",
)
@click.option(
    "--all",
    "folder",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=str),
    help="Write every run to its own file in FOLDER, which must be missing or empty.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "otlp"]),
    default="jsonl",
    show_default=True,
    help="jsonl: the whole run, for `inmem import`; otlp: its traces as OpenTelemetry OTLP JSON.",
)
def export(*, database: str, run: str | None, out: str | None, folder: str | None, form: str) -> None:
    """Write a run to a file, with a hash on every line.

    The file holds the complete run, in all five primitives, as JSON lines; `inmem import` restores it. With --all, all
    files come from one snapshot: no transaction is included only in part.

    Put -- before a name that begins with a dash, after all options.
    """
    if folder == "" or out == "":
        raise click.UsageError("the path is empty")
    if (run is None) == (folder is None) or (folder is not None and out is not None):
        raise click.UsageError("name a RUN, or export every run with --all FOLDER and without --out")
    write = _write_otlp if form == "otlp" else _write_run
    with open_for_reading(database) as db:
        if folder is not None:
            told, target = _export_all(db, Path(folder), write), folder
        else:
            run_id = resolve_run(db, run or "")
            target = STREAM if out is None else out
            with progress("exporting") as on_progress:
                told = write(db, run_id, sys.stdout.buffer if target == STREAM else target, on_progress)
    if target != STREAM:
        click.echo(f"{printable(target)}: {told}", err=True)


def _export_all(db: Database, folder: Path, write: _Write) -> str:
    """Write all runs. They are from one version, because the database was opened for reading and is not refreshed."""
    if folder.is_dir() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty")
    folder.mkdir(mode=0o700, exist_ok=True)
    runs = [*db.runs.list_runs(include_archived=True), *db.unregistered_runs()]
    suffix = "json" if write is _write_otlp else "jsonl"
    written = 0
    with progress("exporting") as on_progress:
        for number, run_id in enumerate(runs, 1):
            # The number keeps the file names distinct on any file system; the rest is for people.
            name = _UNFIT.sub("-", run_id)[:_NAME_CHARS_MAX].strip("-")
            # Keys still expire: an unregistered run may have lost its last key since it was listed.
            with suppress(inmem.RunNotFoundError):
                write(db, run_id, str(folder / f"{number:06}-{name}.{suffix}"), _show_nothing)
                written += 1
            on_progress(number, len(runs))
    return counted(written, "run")


def _write_run(db: Database, run_id: str, file: str | BinaryIO, on_progress: Callable[[int, int], None]) -> str:
    export = db.export_run(run_id, file, on_progress=on_progress)
    # The transaction sees the version that was exported: the database was opened for reading.
    with db.begin(run_id) as txn:
        return contents_of(export, txn.contents.deleted_cells())


def _write_otlp(db: Database, run_id: str, file: str | BinaryIO, _on_progress: Callable[[int, int], None]) -> str:
    request = run_to_otlp(db, run_id)
    with opened_for_writing(file) as target:
        write_whole(target, json.dumps(request, separators=(",", ":"), allow_nan=False).encode() + b"\n")
    scopes = [scope for resource in request["resourceSpans"] for scope in resource["scopeSpans"]]
    return counted(sum(len(scope["spans"]) for scope in scopes), "span")


def _show_nothing(_done: int, _total: int) -> None:
    """Do not show the progress of one of many files."""


def contents_of(export: RunExport, deleted_cells: int) -> str:
    """Return the contents of an exported file, counted in words."""
    return contents_in_words(asdict(export), deleted_cells)
