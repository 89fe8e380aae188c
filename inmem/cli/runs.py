"""`inmem runs`, `events`, `cells` and `get`: what a database holds."""

from __future__ import annotations

import shlex
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click
from rich.text import Text

from inmem import RunStatus
from inmem.cli.errors import NoError
from inmem.cli.examples import example
from inmem.cli.output import as_text, is_terminal, one_line, print_json, print_json_list, printable, show
from inmem.cli.reading import database_argument, json_option, key_argument, open_for_reading, reading_run, run_argument
from inmem.cli.tables import Column, show_rows, table
from inmem.engine.limits import INT_MAX
from inmem.json_values import result_to_json
from inmem.times import moment
from inmem.user_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from inmem import Event, RunMetadata, RunStatusName, Transaction

STATUS_STYLES = {
    RunStatus.ACTIVE: "yellow",
    RunStatus.COMPLETED: "green",
    RunStatus.FAILED: "red",
    RunStatus.CANCELLED: "dim",
    RunStatus.PAUSED: "cyan",
    RunStatus.ARCHIVED: "dim",
}

_status_type = click.Choice(list(RunStatus), case_sensitive=False)


class _CountType(click.IntRange):
    """A number of at least 0. That it also has a greatest one is not worth its digits in the help."""

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse here, where the option is known, what the store would refuse."""
        count: int = super().convert(value, param, ctx)
        if count > INT_MAX:
            self.fail(f"{count} is more than {INT_MAX}.", param, ctx)
        return count


_EVENTS_HELD: Final = 100
"""Read at a time: enough to make finding them cheap, few enough to hold whatever they carry."""

_count_type = _CountType()
_limit_option = click.option("--limit", type=_count_type, metavar="N", help="Show at most N.")


@click.command(epilog=example("inmem runs demo/harbour.db --status failed"))
@database_argument
@click.option("--status", type=_status_type, help="Only runs of this status.")
@click.option("--tag", "tags", multiple=True, help="Only runs with this tag; may be given again.")
@click.option("--all", "include_archived", is_flag=True, help="Archived runs too.")
@click.option("--unregistered", is_flag=True, help="Runs that hold something and were never registered, instead.")
@_limit_option
@json_option
def runs(
    *,
    database: str,
    status: RunStatusName | None,
    tags: tuple[str, ...],
    include_archived: bool,
    unregistered: bool,
    limit: int | None,
    as_json_output: bool,
) -> None:
    """List the runs of DB in the order of their creation."""
    is_chosen = status is not None or bool(tags)
    if unregistered:
        if is_chosen:
            raise click.UsageError("runs that were never registered have neither status nor tags")
        _list_unregistered(database, limit, as_json_output=as_json_output)
        return
    with open_for_reading(database) as db, db.begin("runs") as txn:
        found = txn.runs.query_runs(status=status, tags=tags, include_archived=include_archived, limit=limit)
        rows = [(run, txn.on(run.run_id).events.len()) for run in found]
        others = [] if as_json_output or is_chosen else db.unregistered_runs()
    if as_json_output:
        print_json([result_to_json(run) | {"events": events} for run, events in rows])
        return
    show(runs_table(rows))
    if others:
        noun = "run that was" if len(others) == 1 else "runs that were"
        where = printable(shlex.quote(database))
        click.echo(f"{len(others):,} {noun} never registered: inmem runs {where} --unregistered", err=True)


def _list_unregistered(database: str, limit: int | None, *, as_json_output: bool) -> None:
    with open_for_reading(database) as db, db.begin("runs") as txn:
        rows = [(run_id, txn.on(run_id).events.len()) for run_id in db.unregistered_runs()[:limit]]
    if as_json_output:
        print_json([{"run_id": run_id, "events": events} for run_id, events in rows])
    else:
        columns = (Column("RUN", "fold"), Column("EVENTS", justify="right"))
        show(table(columns, [(printable(run_id), f"{events:,}") for run_id, events in rows]))


def runs_table(found: Iterable[tuple[RunMetadata, int]], width: int | None = None) -> RenderableType:
    """Return the table of runs, given with the number of their events."""
    columns = (
        Column("RUN", "fold"),
        Column("STATUS"),
        Column("EVENTS", justify="right"),
        Column("ERROR", "below"),
        Column("CREATED (UTC)", "below"),
        Column("TAGS", "below"),
    )
    rows = [
        (
            printable(run.run_id),
            Text(run.status, STATUS_STYLES[run.status]),
            f"{events:,}",
            one_line(run.error or ""),
            moment(run.created_at)[:19],
            one_line(" ".join(run.tags)),
        )
        for run, events in found
    ]
    return table(columns, rows, width)


@click.command(epilog=example("inmem events demo/harbour.db night-watch/0000 --type tool"))
@database_argument
@run_argument
@click.option("--type", "event_type", help="Only events of this type.")
@click.option("--start", type=_count_type, default=0, metavar="N", help="Begin with event N.")
@_limit_option
@json_option
def events(
    *, database: str, run: str, event_type: str | None, start: int, limit: int | None, as_json_output: bool
) -> None:
    """List the events of RUN in their order."""
    columns = (
        Column("#", justify="right"),
        Column("TIME (UTC)", "fold"),
        Column("TYPE", "fold"),
        Column("PAYLOAD", "cut"),
    )
    with reading_run(database, run) as txn:

        def found() -> Iterator[Event]:
            return islice(_events_of(txn, event_type, start), limit)

        if as_json_output:
            print_json_list(map(result_to_json, found()))
            return
        rows = ((*_beginning(event), one_line(event.payload)) for event in found())
        show_rows(columns, rows, map(_beginning, found()))


def _beginning(event: Event) -> tuple[str, str, str]:
    return str(event.sequence), moment(event.timestamp), printable(event.event_type)


def _events_of(txn: Transaction, event_type: str | None, start: int) -> Iterator[Event]:
    """Yield the events from `start` on, of one type or of all, holding few at a time."""
    if event_type is None:
        yield from txn.events.iter(start, batch_size=_EVENTS_HELD)
        return
    after = start - 1 if start else None
    while batch := txn.events.read_by_type(event_type, _EVENTS_HELD, after):
        yield from batch
        after = batch[-1].sequence


@click.command(epilog=example("inmem cells demo/harbour.db night-watch/0000"))
@database_argument
@run_argument
@json_option
def cells(*, database: str, run: str, as_json_output: bool) -> None:
    """List the state cells of RUN with their values."""
    with reading_run(database, run) as txn:
        found = [(name, txn.cells.read(name)) for name in txn.cells.list()]
    states = [(name, state) for name, state in found if state is not None]
    if as_json_output:
        print_json([{"name": name} | result_to_json(state) for name, state in states])
        return
    columns = (
        Column("CELL", "fold"),
        Column("VERSION", justify="right"),
        Column("UPDATED (UTC)", "fold"),
        Column("VALUE", "cut"),
    )
    rows = [
        (printable(name), str(state.version), moment(state.updated_at), one_line(state.value)) for name, state in states
    ]
    show(table(columns, rows))


@click.command(epilog=example("inmem get demo/harbour.db night-watch/0000"))
@database_argument
@run_argument
@key_argument
@click.option("--raw", is_flag=True, help="Print what is stored and nothing else, for a file or a pipe.")
@json_option
def get(*, database: str, run: str, key: str | None, raw: bool, as_json_output: bool) -> None:
    """Print the value of KEY in RUN, or the keys that RUN has.

    Text is printed with its lines, all else that cannot be seen in it as escapes; any other value as JSON. With --raw,
    text is written as UTF-8 and bytes as they are, without a line break at the end.
    """
    if raw:
        if key is None or as_json_output:
            raise click.UsageError("--raw is for the value of a KEY, without --json")
        if is_terminal(sys.stdout):
            raise click.UsageError("--raw is for a file or a pipe: what is stored could take over a terminal")
    with reading_run(database, run) as txn:
        if key is None:
            keys = txn.kv.list()
            found = None
        else:
            keys = []
            found = txn.kv.get_versioned(key)
        run_id = txn.run_id
    if key is None:
        if as_json_output:
            print_json(keys)
        elif keys:
            click.echo("\n".join(map(printable, keys)))
        return
    if found is None:
        where = f"{shlex.quote(database)} {shlex.quote(run_id)}"
        raise NoError(f"run {run_id!r} has no key {key!r}. Try: inmem get {where}")
    if as_json_output:
        print_json({"run_id": run_id, "key": key} | result_to_json(found))
        return
    value = found.value
    text = value if isinstance(value, str) else as_text(value)
    if raw:
        write_whole(sys.stdout.buffer, value if isinstance(value, bytes) else text.encode())
    else:
        # Lines may stay lines; nothing else that moves the cursor may. At once, as each echo is flushed.
        click.echo("\n".join(map(printable, text.split("\n"))))
