"""`inmem stat`, `verify` and `checkpoint`: the database as a whole."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

import inmem
from inmem import CorruptionError
from inmem.cli.errors import NO, when_damaged
from inmem.cli.examples import example
from inmem.cli.output import counted, print_json, printable, show, size
from inmem.cli.progress import progress
from inmem.cli.reading import database_argument, json_option, open_for_reading
from inmem.engine.keys import Tag
from inmem.json_values import result_to_json, to_json
from inmem.verification import verify_folder

if TYPE_CHECKING:
    from inmem import Verification
    from inmem.engine.verification import VerifyReport


@click.command(epilog=example("inmem stat demo/harbour.db --json"))
@database_argument
@json_option
def stat(*, database: str, as_json_output: bool) -> None:
    """Show how much there is in DB."""
    with open_for_reading(database) as db:
        with db.begin("stat") as txn:
            runs = asdict(txn.runs.get_stats())
            unregistered = db.unregistered_runs()
            events = traces = 0
            for run_id in (*txn.runs.list_runs(include_archived=True), *unregistered):
                here = txn.on(run_id)
                events += here.events.len()
                traces += here.traces.count()
        stats = db.stats()
    sizes = _sizes_of_files(database)
    if as_json_output:
        facts = {
            "version": stats.version,
            **runs,
            "unregistered_runs": len(unregistered),
            "events": events,
            "traces": traces,
            "keys": stats.keys,
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
        ("events", f"{events:,}"),
        ("traces", f"{traces:,}"),
        ("keys", f"{stats.keys:,} of all kinds, indices included"),
    ):
        shown.add_row(Text(name, "bold"), fact)
    show(shown)


@click.command(epilog=example("inmem verify demo/harbour.db && echo sound"))
@database_argument
@json_option
def verify(*, database: str, as_json_output: bool) -> None:
    """Check every file, table and chain of events of DB.

    The exit code is 1 if something is damaged, and 2 if DB is no database.
    """
    try:
        with open_for_reading(database) as db, progress("verifying"):
            report = db.verify()
        files = report.files
    except CorruptionError:
        # It cannot be opened; its files can still be read one by one.
        report = None
        with progress("verifying"):
            files = verify_folder(database)
    is_valid = report is not None and report.is_valid
    if as_json_output:
        print_json(_verification_as_json(report, files, is_valid=is_valid))
    else:
        show(verification_table(report, files))
        if report is None:
            click.echo(printable(when_damaged(database)), err=True)
    if not is_valid:
        raise click.exceptions.Exit(NO)


def verification_table(report: Verification | None, files: VerifyReport | None) -> Table:
    """Return the lines that tell what a verification found; no report means that the database could not be opened."""
    shown = Table.grid(padding=(0, 2))
    if files is not None:
        found = ", ".join(
            (
                *([f"version {files.version:,}"] if files.version else []),
                counted(files.segments, "segment"),
                counted(files.checkpoints, "checkpoint"),
                # What a checkpoint holds is not there as commits any more.
                f"{counted(files.commits, 'commit')} in the log",
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
    shown.add_row(Text("chains", "bold"), _verdict(is_sound=not (report.broken_chains or report.wrong_indices)), found)
    for run_id, chain in report.broken_chains:
        shown.add_row("", "", printable(f"{run_id}: {chain.error}"))
    for run_id, tag in report.wrong_indices:
        whose = printable(f"{run_id}: " if run_id else "all runs: ")
        shown.add_row("", "", f"{whose}index {tag:#x} does not agree with its records")
    if report.unreadable:
        found = f"{counted(len(report.unreadable), 'record')} that cannot be read"
        shown.add_row(Text("records", "bold"), _verdict(is_sound=False), found)
    for run_id, tag, key, reason in report.unreadable:
        shown.add_row("", "", printable(f"{run_id}: {Tag(tag).name.lower()} {key!r}: {reason}"))
    if report.orphans:
        found = f"{counted(len(report.orphans), 'trace')} whose parent is lost: no tree shows them"
        shown.add_row(Text("traces", "bold"), _verdict(is_sound=False), found)
    for run_id, trace_id, parent_id in report.orphans:
        shown.add_row("", "", printable(f"{run_id}: {trace_id!r} was recorded below {parent_id!r}"))
    return shown


@click.command(epilog=example("inmem checkpoint demo/harbour.db"))
@database_argument
@json_option
def checkpoint(*, database: str, as_json_output: bool) -> None:
    """Write the state of DB to a checkpoint, for a faster opening.

    The log before it is removed. Somebody who reads DB meanwhile is not disturbed.
    """
    with progress("writing a checkpoint"), inmem.open(database, create=False) as db:
        version = db.checkpoint()
    if as_json_output:
        print_json({"version": version})
    else:
        click.echo(f"checkpoint of version {version:,} written")


def _sizes_of_files(folder: str) -> list[int]:
    sizes: list[int] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            # A checkpoint of the owner's may remove it between the two looks.
            with suppress(FileNotFoundError):
                if entry.is_file():
                    sizes.append(entry.stat().st_size)
    return sizes


def _verdict(*, is_sound: bool) -> Text:
    return Text("ok", "green") if is_sound else Text("damaged", "bold red")


def _verification_as_json(report: Verification | None, files: VerifyReport | None, *, is_valid: bool) -> dict[str, Any]:
    """Return the fields of a `Verification`, as far as they are known."""
    problems = [] if files is None else [vars(problem) for problem in files.problems]
    facts: dict[str, Any] = {"is_valid": is_valid, "version": None if report is None else report.version}
    if files is not None:
        torn = [torn._asdict() for torn in files.torn]
        found = {field.name: getattr(files, field.name) for field in fields(files)}
        facts["files"] = found | {"torn": torn, "problems": problems}
    facts["problems"] = problems
    if report is not None:
        broken = [{"run_id": run_id} | result_to_json(chain) for run_id, chain in report.broken_chains]
        facts |= {"chains": report.chains, "events": report.events, "broken_chains": broken}
        facts["wrong_indices"] = [{"run_id": run_id, "tag": tag} for run_id, tag in report.wrong_indices]
        facts["orphans"] = [orphan._asdict() for orphan in report.orphans]
        facts["unreadable"] = [each._asdict() | {"key": to_json(each.key)} for each in report.unreadable]
    return facts
