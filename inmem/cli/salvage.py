"""`inmem salvage`: saves the readable contents of a damaged database into a new one."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

import inmem
from inmem.amounts import counted, size
from inmem.cli.errors import NO
from inmem.cli.examples import example
from inmem.cli.output import print_json, show
from inmem.cli.progress import progress
from inmem.cli.reading import database_argument, database_type, json_option
from inmem.engine.version_ranges import count
from inmem.invisible import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inmem import SalvageReport
    from inmem.engine.version_ranges import Range

_RANGES_SHOWN_MAX = 5


@click.command(epilog=example("inmem salvage demo/harbour.db --into saved.db"))
@database_argument
@click.option(
    "--into",
    "target",
    metavar="NEW",
    required=True,
    type=database_type,
    help="Folder for the new database; must be missing or empty.",
)
@click.option(
    "--beyond-damage",
    is_flag=True,
    help="Also recover what is readable after the damage, although commits before it are missing.",
)
@json_option
def salvage(*, database: str, target: str, beyond_damage: bool, as_json_output: bool) -> None:
    """Recover the contents of a damaged DB into a new database.

    DB itself is not modified. The exit code is 1 if anything in DB is missing or damaged, even if no commit was lost,
    and 2 if DB is not a database.
    """
    with progress("salvaging"):
        report = inmem.salvage(database, target, beyond_damage=beyond_damage)
    if as_json_output:
        print_json(_as_json(report))
    else:
        show(_told(report))
    if not report.is_complete:
        raise click.exceptions.Exit(NO)


def _told(report: SalvageReport) -> Table:
    shown = Table.grid(padding=(0, 2))
    kept = ", ".join((counted(report.runs, "run"), counted(report.keys, "key"), counted(report.events, "event")))
    shown.add_row(Text("kept", "bold green"), f"{kept}; every commit up to version {report.prefix_version:,}")
    shown.add_row("", f"entries: {report.entries:,}, including index entries")
    for name in report.parts_of:
        shown.add_row("", f"parts of {name}: together, a state that never existed")
    if report.taken_beyond:
        shown.add_row("", f"{_commits(report.taken_beyond)} after the damage: together, a state that never existed")
    shown.add_row(Text("into", "bold"), printable(f"{report.into}, at version {report.version:,}"))
    if report.left_out:
        shown.add_row(
            Text("left out", "bold yellow"),
            f"{_commits(report.left_out)}: readable, but after the damage; recover them with --beyond-damage",
        )
    for name in report.parts_left_out:
        shown.add_row(Text("left out", "bold yellow"), f"parts of {name}: readable; recover them with --beyond-damage")
    if report.missing:
        but = ", except for what those parts hold of them" if report.parts_of else ""
        shown.add_row(Text("lost", "bold red"), _commits(report.missing) + but)
    for file in report.files:
        for lost in file.lost:
            place = f"{file.name}, byte {lost.offset}: {size(lost.size)}, {lost.reason}"
            shown.add_row(Text("damaged", "red"), printable(place))
    for torn in report.torn:
        place = f"{torn.name}, byte {torn.offset}: {size(torn.size)}, {torn.reason}"
        shown.add_row(Text("torn", "yellow"), printable(place))
    for run_id, chain in report.broken_chains:
        shown.add_row(Text("broken", "red"), printable(f"{run_id!r}: {chain.error}"))
    for (run_id, parent_id), found in Counter((run_id, parent_id) for run_id, _, parent_id in report.orphans).items():
        told = f"{counted(found, 'trace')} of {run_id!r}, now without a parent: {parent_id!r} was lost"
        shown.add_row(Text("orphaned", "yellow"), printable(told))
    if report.indices_repaired:
        shown.add_row(Text("repaired", "yellow"), counted(report.indices_repaired, "index table"))
    if report.is_complete:
        shown.add_row(Text("lost", "bold"), "nothing")
    return shown


def _commits(ranges: Sequence[Range]) -> str:
    """Return text such as ``3 commits (versions 5, 7-8)``."""
    texts = [f"{first:,}" if first == last else f"{first:,}-{last:,}" for first, last in ranges[:_RANGES_SHOWN_MAX]]
    more = ", …" if len(ranges) > _RANGES_SHOWN_MAX else ""
    total = count(ranges)
    return f"{counted(total, 'commit')} (version{'s' if total > 1 else ''} {', '.join(texts)}{more})"


def _as_json(report: SalvageReport) -> dict[str, Any]:
    facts = asdict(report)
    facts["files"] = [file._asdict() | {"lost": [lost._asdict() for lost in file.lost]} for file in report.files]
    facts["torn"] = [torn._asdict() for torn in report.torn]
    facts["orphans"] = [orphan._asdict() for orphan in report.orphans]
    facts["broken_chains"] = [
        {"run_id": run_id, "first_invalid": chain.first_invalid, "error": chain.error}
        for run_id, chain in report.broken_chains
    ]
    return facts
