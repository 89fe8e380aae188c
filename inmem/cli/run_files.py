"""`inmem export` and `import`: a run as a file."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

import inmem
from inmem.cli.examples import example
from inmem.cli.output import counted, print_json, printable
from inmem.cli.progress import progress
from inmem.cli.reading import database_argument, into_option, json_option, open_for_reading, resolve_run, run_argument
from inmem.json_values import result_to_json
from inmem.run_file import read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from inmem import RunExport

_STREAM = "-"


@click.command(epilog=example("inmem export demo/harbour.db night-watch/0000 --out storm.jsonl"))
@database_argument
@run_argument
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=str), help="Write to FILE.")
def export(*, database: str, run: str, out: str | None) -> None:
    """Write a run to a file, every line with its hash.

    Without --out it goes to the standard output. The file holds all of the run in all five primitives as JSON lines,
    and `inmem import` makes the same run of it.
    """
    with open_for_reading(database) as db:
        run_id = resolve_run(db, run)
        with _items("exporting") as on_progress:
            if out in (None, _STREAM):
                db.export_run(run_id, sys.stdout.buffer, on_progress=on_progress)
                return
            exported = db.export_run(run_id, out, on_progress=on_progress)
    click.echo(f"{printable(out)}: {_told(exported)}", err=True)


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
