"""`inmem stat`, `verify` and `checkpoint`: the database as a whole."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

import inmem
from inmem import CorruptionError
from inmem.actors.folder_disk import FolderDisk
from inmem.cli.errors import NO
from inmem.cli.output import counted, print_json, printable, show, size
from inmem.cli.reading import database_argument, json_option, open_for_reading
from inmem.engine.verification import verify as verify_files

if TYPE_CHECKING:
    from inmem import Verification
    from inmem.engine.verification import VerifyReport


@click.command(epilog="Example: inmem stat agents.db --json")
@database_argument
@json_option
def stat(*, database: str, as_json_output: bool) -> None:
    """Show how much there is in DB."""
    with open_for_reading(database) as db:
        with db.begin("stat") as txn:
            runs = asdict(txn.runs.get_stats())
            events = traces = 0
            for run_id in txn.runs.list_runs(include_archived=True):
                here = txn.on(run_id)
                events += here.events.len()
                traces += here.traces.count()
        stats = db.stats()
    with os.scandir(database) as entries:
        sizes = [entry.stat().st_size for entry in entries if entry.is_file()]
    if as_json_output:
        facts = {"version": stats.version, "runs": runs, "events": events, "traces": traces, "keys": stats.keys}
        print_json({"path": database, **facts, "files": len(sizes), "size_bytes": sum(sizes)})
        return
    total = runs.pop("total_runs")
    by_status = ", ".join(f"{count:,} {name.removesuffix('_runs')}" for name, count in runs.items() if count)
    shown = Table.grid(padding=(0, 2))
    for name, fact in (
        ("path", printable(database)),
        ("size", f"{size(sum(sizes))} in {counted(len(sizes), 'file')}"),
        ("version", f"{stats.version:,}"),
        ("runs", f"{total:,}" + (f" ({by_status})" if by_status else "")),
        ("events", f"{events:,}"),
        ("traces", f"{traces:,}"),
        ("keys", f"{stats.keys:,} of all kinds, indices included"),
    ):
        shown.add_row(Text(name, "bold"), fact)
    show(shown)


@click.command(epilog="Example: inmem verify agents.db && echo sound")
@database_argument
@json_option
def verify(*, database: str, as_json_output: bool) -> None:
    """Read all of DB and check it: every file, every table, every chain of events.

    The exit code is 1 if something is damaged.
    """
    try:
        with open_for_reading(database) as db:
            report = db.verify()
        files = report.files
    except CorruptionError:
        # It cannot be opened; its files can still be read one by one.
        report = None
        files = verify_files(FolderDisk(database, read_only=True))
    is_valid = report is not None and report.is_valid
    if as_json_output:
        print_json(_verification_as_json(report, files, is_valid=is_valid))
    else:
        show(verification_table(report, files))
    if not is_valid:
        raise click.exceptions.Exit(NO)


def verification_table(report: Verification | None, files: VerifyReport | None) -> Table:
    """Return the lines that tell what a verification found; no report means that the database could not be opened."""
    shown = Table.grid(padding=(0, 2))
    if files is not None:
        found = ", ".join(
            (
                counted(files.segments, "segment"),
                counted(files.checkpoints, "checkpoint"),
                counted(files.commits, "commit"),
                size(files.size_bytes),
            )
        )
        shown.add_row(Text("files", "bold"), _verdict(is_sound=not files.problems), found)
        for problem in files.problems:
            shown.add_row("", "", printable(str(problem)))
        for torn in files.torn:
            place = f"{torn.name}, byte {torn.offset}: {torn.size} bytes, {torn.reason}"
            shown.add_row("", Text("torn", "yellow"), printable(place))
    if report is None:
        shown.add_row(Text("chains", "bold"), Text("unknown", "red"), "the database cannot be opened")
        return shown
    found = f"{counted(report.events, 'event')} in {counted(report.chains, 'chain')}"
    shown.add_row(Text("chains", "bold"), _verdict(is_sound=not report.broken_chains), found)
    for run_id, chain in report.broken_chains:
        shown.add_row("", "", printable(f"{run_id}: {chain.error}"))
    return shown


@click.command(epilog="Example: inmem checkpoint agents.db")
@database_argument
@json_option
def checkpoint(*, database: str, as_json_output: bool) -> None:
    """Write the state of DB to a checkpoint, so that opening it need not replay the log."""
    with inmem.open(database, create=False) as db:
        version = db.checkpoint()
    if as_json_output:
        print_json({"version": version})
    else:
        click.echo(f"checkpoint of version {version:,} written")


def _verdict(*, is_sound: bool) -> Text:
    return Text("ok", "green") if is_sound else Text("damaged", "bold red")


def _verification_as_json(report: Verification | None, files: VerifyReport | None, *, is_valid: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {"is_valid": is_valid, "version": None if report is None else report.version}
    if files is not None:
        facts["files"] = {
            "segments": files.segments,
            "checkpoints": files.checkpoints,
            "commits": files.commits,
            "size_bytes": files.size_bytes,
            "torn": [torn._asdict() for torn in files.torn],
            "problems": [
                {"path": problem.path, "offset": problem.offset, "reason": problem.reason} for problem in files.problems
            ],
        }
    if report is not None:
        facts["chains"] = report.chains
        facts["events"] = report.events
        facts["broken_chains"] = [
            {"run": run_id, "first_invalid": chain.first_invalid, "error": chain.error}
            for run_id, chain in report.broken_chains
        ]
    return facts
