"""`inmem export` and `import`: a run as a file."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import click

import inmem
from inmem.cli.examples import example
from inmem.cli.output import counted, print_json, printable
from inmem.cli.progress import progress
from inmem.cli.reading import database_argument, into_option, json_option, open_for_reading, resolve_run, run_argument
from inmem.json_values import result_to_json
from inmem.otlp import run_to_otlp
from inmem.run_file import opened_for_writing, read_run, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from inmem import Database, RunExport

_STREAM = "-"


@click.command(epilog=example("inmem export demo/harbour.db night-watch/0000 --out storm.jsonl"))
@database_argument
@run_argument
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=str), help="Write to FILE.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "otlp"]),
    default="jsonl",
    show_default=True,
    help="All of the run for `inmem import`, or its traces as OpenTelemetry's OTLP JSON.",
)
def export(*, database: str, run: str, out: str | None, form: str) -> None:
    """Write a run to a file, every line with its hash.

    Without --out it goes to the standard output. The file holds all of the run in all five primitives as JSON lines,
    and `inmem import` makes the same run of it.
    """
    with open_for_reading(database) as db:
        run_id = resolve_run(db, run)
        target = sys.stdout.buffer if out in (None, _STREAM) else out
        with _items("exporting") as on_progress:
            if form == "otlp":
                told = _write_otlp(db, run_id, target)
            else:
                told = _told(db.export_run(run_id, target, on_progress=on_progress))
    if isinstance(target, str):
        click.echo(f"{printable(target)}: {told}", err=True)


def _write_otlp(db: Database, run_id: str, file: str | BinaryIO) -> str:
    request = run_to_otlp(db, run_id)
    with opened_for_writing(file) as target:
        write_whole(target, json.dumps(request, separators=(",", ":"), allow_nan=False).encode() + b"\n")
    scopes = [scope for resource in request["resourceSpans"] for scope in resource["scopeSpans"]]
    return counted(sum(len(scope["spans"]) for scope in scopes), "span")


@click.command("import", epilog=example("inmem export demo/harbour.db lamp | inmem import - --into copy.db"))
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=str))
@into_option
@json_option
def import_(*, file: str, database: str, as_json_output: bool) -> None:
    """Read a run from a file, if all of it is as it was written.

    FILE is what `inmem export` wrote, or - for the standard input. Every line is checked against its hash, every
    event against its chain; the run is imported in one commit, or not at all. DB is made if it is missing.
    """
    with _items("importing") as on_progress:
        # Read before the database is opened, so that a bad file leaves no empty database behind.
        found = read_run(sys.stdin.buffer if file == _STREAM else file, on_progress)
        with inmem.open(database) as db:
            found.put_into(db)
    if as_json_output:
        print_json(result_to_json(found.export))
    else:
        click.echo(f"{printable(found.export.run_id)}: {_told(found.export)}")


@contextmanager
def _items(doing: str) -> Generator[Callable[[int, int], None]]:
    with progress(doing) as on_progress:

        def show(done: int, total: int) -> None:
            on_progress(done, total)

        yield show


def _told(export: RunExport) -> str:
    counts = ("key", export.keys), ("event", export.events), ("cell", export.cells), ("trace", export.traces)
    return ", ".join(counted(count, noun) for noun, count in counts)
