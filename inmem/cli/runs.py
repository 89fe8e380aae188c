"""`inmem runs`, `cells` and `get`: show the contents of a database."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from rich.text import Text

from inmem import RunStatus
from inmem.amounts import counted
from inmem.cli.counts import limit_option
from inmem.cli.errors import NoError, hint, to_try
from inmem.cli.examples import example
from inmem.cli.output import as_text, is_terminal, one_line, print_json, say_none, show, width_option
from inmem.cli.reading import (
    database_argument,
    find_run,
    json_option,
    key_argument,
    open_for_reading,
    prefix_option,
    reading_run,
    run_argument,
)
from inmem.cli.tables import Column, table
from inmem.invisible import printable
from inmem.json_values import result_to_json
from inmem.shown_name import plain_name, plain_word
from inmem.times import moment
from inmem.user_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from inmem import Database, RunMetadata, RunStatusName, Transaction

STATUS_STYLES = {
    RunStatus.ACTIVE: "yellow",
    RunStatus.COMPLETED: "green",
    RunStatus.FAILED: "red",
    RunStatus.CANCELLED: "dim",
    RunStatus.PAUSED: "cyan",
    RunStatus.ARCHIVED: "dim",
}

_status_type = click.Choice(list(RunStatus), case_sensitive=False)


@click.command(epilog=example("inmem runs demo/harbour.db --status failed"))
@database_argument
@click.option("--status", type=_status_type, help="Only runs with this status.")
@click.option("--tag", "tags", multiple=True, help="Only runs with this tag; repeat it to require several.")
@click.option("--all", "include_archived", is_flag=True, help="Include archived runs.")
@click.option("--parent", metavar="RUN", help="Only runs whose parent is RUN.")
@click.option("--unregistered", is_flag=True, help="List only runs that hold data but were never registered.")
@click.option("--newest", is_flag=True, help="Newest first.")
@limit_option
@width_option
@json_option
def runs(
    *,
    database: str,
    status: RunStatusName | None,
    tags: tuple[str, ...],
    include_archived: bool,
    parent: str | None,
    unregistered: bool,
    newest: bool,
    limit: int | None,
    as_json_output: bool,
) -> None:
    """List the runs in DB, oldest first."""
    is_chosen = status is not None or bool(tags) or parent is not None
    if unregistered:
        if is_chosen or newest:
            raise click.UsageError("unregistered runs have no status, tags, parent or creation time")
        _list_unregistered(database, limit, as_json_output=as_json_output)
        return
    with open_for_reading(database) as db, db.begin("runs") as txn:
        parent = None if parent is None else _parent(db, txn, parent)
        found = txn.runs.query_runs(
            status=status,
            tags=tags,
            parent=parent,
            include_archived=include_archived,
            limit=limit,
            newest_first=newest,
        )
        only_archived = not found and txn.runs.query_runs(
            status=status, tags=tags, parent=parent, include_archived=True, limit=1
        )
        rows = [(run, txn.on(run.run_id).events.len()) for run in found]
        others = [] if as_json_output or is_chosen or limit == 0 else db.unregistered_runs()
    if as_json_output:
        print_json([result_to_json(run) | {"events": events} for run, events in rows])
        return
    if rows:
        show(runs_table(rows))
    elif limit != 0:
        archived = ", except archived ones: list them with --all" if only_archived else ""
        say_none(f"no {_in_words(status, tags, parent)}{archived}")
    if others:
        advice = to_try("runs", database, options="--unregistered")
        found_others = counted(len(others), "unregistered run")
        click.echo(f"{found_others}; to list: {advice}" if advice else found_others, err=True)


def _in_words(status: RunStatusName | None, tags: tuple[str, ...], parent: str | None) -> str:
    """Return what runs were asked for."""
    wanted = [f"with status {status}"] if status is not None else []
    wanted += [f"with tag {plain_word(tag)}" for tag in tags]
    wanted += [f"with parent {plain_name(parent)}"] if parent is not None else []
    return "runs " + " and ".join(wanted) if wanted else "registered runs"


def _parent(db: Database, txn: Transaction, name: str) -> str:
    """Return the id of the parent run that `name` refers to; it may be deleted if other runs name it as parent."""
    if txn.runs.query_runs(parent=name, include_archived=True, limit=1):
        return name
    return find_run(db, txn, name)


def _list_unregistered(database: str, limit: int | None, *, as_json_output: bool) -> None:
    with open_for_reading(database) as db, db.begin("runs") as txn:
        rows = [(run_id, txn.on(run_id).events.len()) for run_id in db.unregistered_runs()[:limit]]
    if as_json_output:
        print_json([{"run_id": run_id, "events": events} for run_id, events in rows])
    elif not rows:
        if limit != 0:
            say_none("no unregistered runs")
    else:
        columns = (Column("RUN", "fold"), Column("EVENTS", justify="right"))
        show(table(columns, [(plain_name(run_id), f"{events:,}") for run_id, events in rows]))


def runs_table(found: Iterable[tuple[RunMetadata, int]], width: int | None = None) -> RenderableType:
    """Return a table of runs; `found` has each run with its number of events. Parents are shown if any run has one."""
    found = [*found]
    has_parents = any(run.parent_run is not None for run, _ in found)
    columns = (
        Column("RUN", "fold"),
        Column("STATUS"),
        Column("EVENTS", justify="right"),
        Column("ERROR", "below"),
        Column("CREATED (UTC)", "below"),
        *([Column("PARENT", "below")] if has_parents else []),
        Column("TAGS", "below"),
    )
    rows: list[tuple[str | Text, ...]] = [
        (
            plain_name(run.run_id),
            Text(run.status, STATUS_STYLES[run.status]),
            f"{events:,}",
            one_line(run.error or ""),
            moment(run.created_at)[:19],
            *([plain_name(run.parent_run) if run.parent_run is not None else ""] if has_parents else []),
            one_line(" ".join(map(plain_word, run.tags))),
        )
        for run, events in found
    ]
    return table(columns, rows, width)


@click.command(epilog=example("inmem cells demo/harbour.db night-watch/0000"))
@database_argument
@run_argument
@width_option
@json_option
def cells(*, database: str, run: str, as_json_output: bool) -> None:
    """List the state cells of RUN and their values.

    Put -- before a name that begins with a dash, after all options.
    """
    with reading_run(database, run) as txn:
        run_id = txn.run_id
        found = [(name, txn.cells.read(name)) for name in txn.cells.list()]
    states = [(name, state) for name, state in found if state is not None]
    if as_json_output:
        print_json([{"name": name} | result_to_json(state) for name, state in states])
        return
    if not states:
        say_none(f"run {plain_name(run_id)} has no cells")
        return
    columns = (
        Column("CELL", "fold"),
        Column("VERSION", justify="right"),
        Column("UPDATED (UTC)", "fold"),
        Column("VALUE", "cut"),
    )
    rows = [
        (plain_name(name), str(state.version), moment(state.updated_at), one_line(state.value))
        for name, state in states
    ]
    show(table(columns, rows))


@click.command(epilog=example("inmem get demo/harbour.db night-watch/0000"))
@database_argument
@run_argument
@key_argument
@prefix_option
@click.option("--raw", is_flag=True, help="Write the stored value unchanged, to a file or pipe.")
@json_option
def get(*, database: str, run: str, key: str | None, prefix: str | None, raw: bool, as_json_output: bool) -> None:
    """Print the value of KEY in RUN, or list the keys of RUN.

    Print text with invisible characters escaped, except line breaks and tabs, and any other value as JSON. With --raw,
    write text as UTF-8 and bytes unchanged, without a trailing newline.

    Put -- before a name that begins with a dash, after all options.
    """
    if key is not None and prefix is not None:
        raise click.UsageError("--prefix lists keys and cannot be combined with KEY")
    if raw:
        if key is None or as_json_output:
            raise click.UsageError("--raw needs a KEY and cannot be combined with --json")
        if is_terminal(sys.stdout):
            raise click.UsageError(
                "--raw does not write to a terminal, which stored data could take over: use a file or pipe"
            )
    with reading_run(database, run) as txn:
        if key is None:
            keys = txn.kv.list(prefix or "")
            has_others = not keys and bool(txn.kv.list(limit=1))
            found = cell = None
        else:
            keys, has_others = [], False
            found = txn.kv.get_versioned(key)
            cell = txn.cells.read(key)
        run_id = txn.run_id
    if key is None:
        if as_json_output:
            print_json(keys)
        elif keys:
            click.echo("\n".join(map(plain_name, keys)))
        else:
            beginning = f" that begin with {plain_name(prefix)}" if prefix is not None and has_others else ""
            say_none(f"run {plain_name(run_id)} has no keys{beginning}")
        return
    if found is None:
        advice = hint("get" if cell is None else "cells", database, run_id)
        but = "" if cell is None else ", but a cell with that name"
        raise NoError(f"run {run_id!r} has no key {key!r}{but}{advice}")
    if as_json_output:
        print_json({"run_id": run_id, "key": key} | result_to_json(found))
        return
    value = found.value
    text = value if isinstance(value, str) else as_text(value)
    if raw:
        write_whole(sys.stdout.buffer, value if isinstance(value, bytes) else text.encode())
    else:
        # In one call, as each echo is flushed.
        click.echo(_printable_lines(text))


def _printable_lines(text: str) -> str:
    """Return a text with all invisible characters escaped except line breaks and tabs, which terminals show safely."""
    *lines, last = text.split("\n")
    ended = [_printable_line(line[:-1]) + "\r" if line.endswith("\r") else _printable_line(line) for line in lines]
    return "\n".join([*ended, _printable_line(last)])


def _printable_line(line: str) -> str:
    return "\t".join([printable(part) for part in line.split("\t")])
