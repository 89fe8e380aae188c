"""`inmem record`: records transcripts as runs.

The hidden option ``--pace SECONDS`` makes every agent wait after each message, as a real agent would. It gives tests
and the demonstration time to kill a recording midway.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

import inmem
from inmem.amounts import counted
from inmem.cli.errors import INTERRUPTED, NO, say_error
from inmem.cli.examples import example
from inmem.cli.output import is_terminal, print_json
from inmem.cli.progress import progress
from inmem.cli.reading import into_option, json_option
from inmem.cli.run_files import STREAM
from inmem.recorder import TranscriptError, fault_of, read_file, record_files

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from inmem.recorder import RecordSummary, TranscriptFile
    from inmem.recorder.messages import Progress as RecordProgress


@click.command(epilog=example("inmem record demo/transcripts/night-watch.jsonl --into demo/night.db"))
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=str),
)
@into_option
@click.option(
    "--agents",
    type=click.IntRange(1, 1000),
    default=4,
    show_default=True,
    metavar="N",
    help="Number of agents that record at the same time.",
)
@click.option(
    "--durability",
    type=click.Choice(["always", "interval", "never"]),
    default="always",
    show_default=True,
    help="When a step counts as recorded: once durable (always), once written and soon durable (interval), or once "
    "written (never).",
)
@click.option("--pace", type=click.FloatRange(min=0), default=0.0, hidden=True, help="Seconds to wait after each step.")
@json_option
def record(
    *,
    files: tuple[str, ...],
    database: str,
    agents: int,
    durability: inmem.DurabilityName,
    pace: float,
    as_json_output: bool,
) -> None:
    """Record conversation transcripts as runs.

    Conversations are recorded as if they were taking place now. FILE contains chat messages (a JSON list of
    conversations, or JSON lines) or the .traj of a coding agent; the format is detected from the content. Use - for
    standard input. Every message is one transaction: an event, its traces, working memory and a cursor.

    If the command is killed at any moment, run it again: it resumes each conversation where it stopped, so that every
    message is recorded exactly once. Whatever is already recorded is left alone. If a conversation in FILE has changed
    since, even by one message at its end, the whole conversation is recorded again as a new run; the old run stays.
    """
    try:
        found = files if Path(database).exists() else _require_conversations(files)
        with inmem.open(database, durability=durability) as db, _recording(files) as on_progress:
            summary = record_files(db, found, agents=agents, pace_s=pace, on_progress=on_progress)
    except KeyboardInterrupt:
        say_error("interrupted; run the same command again to resume")
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


def _require_conversations(files: tuple[str, ...]) -> list[str | TranscriptFile]:
    """Return the files, if there is any conversation in them; otherwise, refuse to leave an empty database behind.

    A pipe can be read only once: one that was read is returned in place of its path.
    """
    found: list[str | TranscriptFile] = [*files]
    faults: list[str] = []
    for at, path in enumerate(files):
        try:
            if path == STREAM or not Path(path).is_file():
                found[at] = read_file(path)
        except TranscriptError as error:
            fault: str | None = str(error)
        else:
            fault = fault_of(found[at])
        if fault is None:
            return found
        faults.append(fault)
    for fault in faults:
        say_error(fault)
    raise click.exceptions.Exit(NO)


@contextmanager
def _recording(files: tuple[str, ...]) -> Generator[Callable[[RecordProgress], None]]:
    """Show the progress of the recording, by bytes read."""
    started_at = time.monotonic()
    total = None if STREAM in files else sum(Path(path).stat().st_size for path in files)
    with progress("recording", is_typed=STREAM in files and is_terminal(sys.stdin)) as on_progress:

        def show(state: RecordProgress) -> None:
            rate = state.recorded / max(time.monotonic() - started_at, 1e-6)
            told = f"{counted(state.runs, 'run')}, {counted(state.recorded, 'message')}, {rate:,.0f}/s"
            on_progress(state.size_bytes, total, told)

        yield show


def _told(summary: RecordSummary, rate: float) -> str:
    counts = (
        f"{counted(summary.runs, 'run')}, {counted(summary.messages, 'message')}, "
        f"{counted(summary.tool_calls, 'tool call')}"
    )
    if not summary.messages and not summary.runs:
        return "nothing recorded"
    if 0 < summary.already_recorded == summary.messages:
        return f"{counts}: all already recorded"
    before = f"; {summary.already_recorded:,} of the messages were already recorded" if summary.already_recorded else ""
    return f"{counts} recorded{before}; {summary.seconds:.1f} s, {counted(round(rate), 'message')}/s"
