"""`inmem stat` and `checkpoint`: the database as a whole."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict

import click
from rich.table import Table
from rich.text import Text

import inmem
from inmem.amounts import counted, size
from inmem.cli.contents import of_them_deleted
from inmem.cli.examples import example
from inmem.cli.output import print_json, show
from inmem.cli.progress import progress
from inmem.cli.reading import database_argument, json_option, open_for_reading
from inmem.invisible import printable


@click.command(epilog=example("inmem stat demo/harbour.db --json"))
@database_argument
@json_option
def stat(*, database: str, as_json_output: bool) -> None:
    """Show the size of DB and what it contains."""
    with open_for_reading(database) as db:
        with db.begin("stat") as txn:
            runs = asdict(txn.runs.get_stats())
            unregistered = db.unregistered_runs()
            keys = events = cells = deleted_cells = traces = 0
            for run_id in (*txn.runs.list_runs(include_archived=True), *unregistered):
                here = txn.on(run_id)
                keys += len(here.kv.list())
                events += here.events.len()
                cells += len(here.cells.list())
                deleted_cells += here.contents.deleted_cells()
                traces += here.traces.count()
        stats = db.stats()
    sizes = _sizes_of_files(database)
    if as_json_output:
        facts = {
            "version": stats.version,
            **runs,
            "unregistered_runs": len(unregistered),
            "keys": keys,
            "events": events,
            "cells": cells + deleted_cells,
            "deleted_cells": deleted_cells,
            "traces": traces,
            "entries": stats.keys,
        }
        print_json({"path": database, "files": len(sizes), "size_bytes": sum(sizes), **facts})
        return
    total = runs.pop("total_runs")
    by_status = ", ".join(f"{count:,} {name.removesuffix('_runs')}" for name, count in runs.items() if count)
    beside = f", {len(unregistered):,} unregistered" if unregistered else ""
    shown = Table.grid(padding=(0, 2))
    for name, fact in (
        ("path", printable(database)),
        ("size", f"{size(sum(sizes))} in {counted(len(sizes), 'file')}"),
        ("version", f"{stats.version:,}"),
        ("runs", f"{total:,}" + (f" ({by_status})" if by_status else "") + beside),
        ("keys", f"{keys:,}"),
        ("events", f"{events:,}"),
        ("cells", f"{cells + deleted_cells:,}" + of_them_deleted(deleted_cells)),
        ("traces", f"{traces:,}"),
        ("entries", f"{stats.keys:,}, including index entries"),
    ):
        shown.add_row(Text(name, "bold"), fact)
    show(shown)


@click.command(epilog=example("inmem checkpoint demo/harbour.db"))
@database_argument
@json_option
def checkpoint(*, database: str, as_json_output: bool) -> None:
    """Write a checkpoint of DB, so that it opens faster.

    The log before the checkpoint is removed. Processes that are reading DB are not disturbed.
    """
    with progress("writing a checkpoint"), inmem.open(database, create=False) as db:
        version = db.checkpoint()
    if as_json_output:
        print_json({"version": version})
    else:
        click.echo(f"wrote a checkpoint of version {version:,}")


def _sizes_of_files(folder: str) -> list[int]:
    sizes: list[int] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            # A checkpoint by the owner may remove the file between the listing and `stat`.
            with suppress(FileNotFoundError):
                if entry.is_file():
                    sizes.append(entry.stat().st_size)
    return sizes
