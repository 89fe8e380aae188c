"""`inmem record`: transcripts become runs.

The hidden option ``--pace SECONDS`` makes every agent wait after each message, as a real one would: it gives tests and
the demonstration the time to kill a recording in the middle.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

import inmem
from inmem.cli.errors import INTERRUPTED, NO, say_error
from inmem.cli.output import console, counted, print_json
from inmem.cli.reading import json_option
from inmem.recorder import record_files

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from inmem.recorder import RecordSummary
    from inmem.recorder.messages import Progress as RecordProgress

_EXAMPLE = "Example: inmem record airline-agent-runs.json --into agents.db --agents 8"


@click.command(epilog=_EXAMPLE)
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=str)
)
@click.option("--into", "database", metavar="DB", required=True, type=click.Path(path_type=str), help="The database.")
@click.option(
    "--agents",
    type=click.IntRange(1, 1000),
    default=4,
    show_default=True,
    metavar="N",
    help="How many agents record at the same time.",
)
@click.option(
    "--durability",
    type=click.Choice(["always", "interval", "never"]),
    default="always",
    show_default=True,
    help="When a step counts as recorded: once it is durable, once written and durable soon, or once written.",
)
@click.option("--pace", type=click.FloatRange(min=0), default=0.0, hidden=True, help="Seconds to wait after each step.")
@json_option
def record(
    *, files: tuple[str, ...], database: str, agents: int, durability: str, pace: float, as_json_output: bool
) -> None:
    """Record the conversations of transcript FILEs as runs, as if the agents were having them now.

    FILE holds chat messages (a JSON list of conversations, or JSON lines) or a coding agent's .traj; its content
    decides. Every message is one transaction: an event, the traces it belongs to, working memory, a cursor.

    Started again after it was killed, at whatever moment, it goes on where each conversation stopped: every message
    is recorded exactly once. What is recorded already is left alone.
    """
    try:
        with inmem.open(database, durability=durability) as db, _progress_bar(files) as on_progress:
            summary = record_files(db, files, agents=agents, pace_s=pace, on_progress=on_progress)
    except KeyboardInterrupt:
        say_error("interrupted; the same command goes on from here")
        raise click.exceptions.Exit(INTERRUPTED) from None
    for error in summary.errors:
        say_error(error)
    rate = (summary.messages - summary.already_recorded) / max(summary.seconds, 1e-6)
    if as_json_output:
        print_json(asdict(summary) | {"messages_per_second": round(rate, 1), "into": database, "files": list(files)})
    else:
        click.echo(_told(summary, rate))
    if summary.errors:
        raise click.exceptions.Exit(NO)


@contextmanager
def _progress_bar(files: tuple[str, ...]) -> Generator[Callable[[RecordProgress], None] | None]:
    """Show progress on stderr if it is a terminal."""
    target = console(stderr=True)
    if not target.is_terminal:
        yield None
        return
    bar = Progress(
        TextColumn("recording"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        console=target,
        transient=True,
    )
    started_at = time.monotonic()
    with bar:
        task = bar.add_task("", total=sum(Path(path).stat().st_size for path in files), told="")

        def show(progress: RecordProgress) -> None:
            rate = progress.recorded / max(time.monotonic() - started_at, 1e-6)
            told = f"{counted(progress.runs, 'run')}, {counted(progress.recorded, 'message')}, {rate:,.0f}/s"
            bar.update(task, completed=progress.size_bytes, told=told)

        yield show


def _told(summary: RecordSummary, rate: float) -> str:
    counts = (
        f"{counted(summary.runs, 'run')}, {counted(summary.messages, 'message')}, "
        f"{counted(summary.tool_calls, 'tool call')}"
    )
    if summary.already_recorded == summary.messages:
        return f"{counts}: all recorded already"
    before = f", {summary.already_recorded:,} of the messages before" if summary.already_recorded else ""
    return f"{counts} recorded{before}; {summary.seconds:.1f} s, {rate:,.0f} messages/s"
