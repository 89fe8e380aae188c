"""`inmem events`: lists the events of a run from its beginning, from its end, or as they are appended."""

from __future__ import annotations

import sys
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

import click

from inmem.cli.counts import count_type, limit_option
from inmem.cli.errors import NoError
from inmem.cli.examples import example
from inmem.cli.output import one_line, print_json, print_json_line, print_json_list, say_none, width_option
from inmem.cli.reading import database_argument, json_option, open_for_reading, resolve_run, run_argument
from inmem.cli.streams import rest_while_read
from inmem.cli.tables import Column, RowWriter, show_rows
from inmem.event_listing import events_from
from inmem.json_values import result_to_json
from inmem.looking_pace import rest_s
from inmem.shown_name import plain_name, plain_word
from inmem.times import moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem import Database, Event, Transaction

_REST_S_MIN: Final = 0.2
"""The least time in seconds between two checks of --follow for new events."""

_TYPES_MAX: Final = 1000
"""The number of event types considered for the width of the type column with --follow."""

_TYPES_NAMED_MAX: Final = 20
"""Types of events that are named to somebody who has asked for one that there is none of."""

_ROOM: Final = ("0" * 6, "", "x" * 12)
"""The minimum width of columns with --follow, since later events have higher numbers and may have other types."""

_COLUMNS: Final = (
    Column("#", justify="right"),
    Column("TIME (UTC)", "fold"),
    Column("TYPE", "fold"),
    Column("PAYLOAD", "cut"),
)


@click.command(epilog=example("inmem events demo/harbour.db night-watch/0000 --type tool"))
@database_argument
@run_argument
@click.option("--type", "event_type", help="Only events of this type.")
@click.option("--start", type=count_type, default=0, metavar="N", help="Start at event N.")
@limit_option
@click.option("--last", type=count_type, metavar="N", help="Only the last N matching events.")
@click.option("-f", "--follow", is_flag=True, help="Keep printing new events until Ctrl-C.")
@width_option
@json_option
def events(
    *,
    database: str,
    run: str,
    event_type: str | None,
    start: int,
    limit: int | None,
    last: int | None,
    follow: bool,
    as_json_output: bool,
) -> None:
    """List the events of RUN in order.

    With --follow, also print events as they are appended, by any process; add --last 0 to print only those. With
    --follow and --json, print one event per line.

    Put -- before a name that begins with a dash, after all options.
    """
    if last is not None and limit is not None:
        raise click.UsageError("--limit and --last cannot be combined")
    with open_for_reading(database) as db:
        run_id = resolve_run(db, run)
        if limit == 0 or (last == 0 and not follow):
            # Nothing is asked for, so headings would announce what is not to come.
            if as_json_output and not follow:
                print_json([])
            return
        asked_start = start
        with db.begin(run_id) as txn:
            if last is not None:
                start = max(start, _first_of_last(txn, event_type, last))
            if not follow:
                if not as_json_output and next(events_from(txn, event_type, start), None) is None:
                    say_none(_why_none(txn, event_type, asked_start))
                    return
                _list(txn, event_type, start, limit, as_json_output=as_json_output)
                return
            writer = None if as_json_output else RowWriter(_COLUMNS, _widths(txn))
        if writer is not None:
            writer.write_header()
        shown = 0
        for event in _followed(db, run_id, event_type, start):
            if event is None:
                sys.stdout.flush()
                continue
            if writer is None:
                print_json_line(result_to_json(event))
            else:
                writer.write(_row(event))
            shown += 1
            if shown == limit:
                return


def _list(txn: Transaction, event_type: str | None, start: int, limit: int | None, *, as_json_output: bool) -> None:
    def found() -> Iterator[Event]:
        return islice(events_from(txn, event_type, start), limit)

    if as_json_output:
        print_json_list(map(result_to_json, found()))
    else:
        show_rows(_COLUMNS, map(_row, found()), map(_beginning, found()))


def _why_none(txn: Transaction, event_type: str | None, start: int) -> str:
    """Return what to say where no event is listed, though some were asked for."""
    run = f"run {plain_name(txn.run_id)}"
    head = txn.events.head()
    if head is None:
        return f"{run} has no events"
    if event_type is not None and not txn.events.read_by_type(event_type, 1):
        found = txn.events.types(_TYPES_NAMED_MAX + 1)
        names = ", ".join(map(plain_word, found[:_TYPES_NAMED_MAX]))
        more = ", …" if len(found) > _TYPES_NAMED_MAX else ""
        return f"{run} has no event of type {plain_name(event_type)}; its types are: {names}{more}"
    of_type = "" if event_type is None else f" of type {plain_name(event_type)}"
    return f"{run} has no event{of_type} from {start} onwards; its last event is {head.sequence}"


def _row(event: Event) -> tuple[str, ...]:
    return *_beginning(event), one_line(event.payload)


def _beginning(event: Event) -> tuple[str, str, str]:
    return str(event.sequence), moment(event.timestamp), plain_name(event.event_type)


def _widths(txn: Transaction) -> list[tuple[str, ...]]:
    """Return beginnings of rows as wide as those of the present events, with some room for later ones."""
    head = txn.events.head()
    if head is None:
        return [_ROOM]
    here = str(head.sequence), moment(head.timestamp)
    return [_ROOM, *((*here, plain_name(name)) for name in txn.events.types(_TYPES_MAX))]


def _first_of_last(txn: Transaction, event_type: str | None, count: int) -> int:
    """Return the sequence number of the first of the last `count` events, of one type or all.

    Complexity: O(events of the type in the range searched), which doubles until it holds enough of them.
    """
    end = txn.events.len()
    if event_type is None or count == 0:
        return max(0, end - count)
    reach = count
    while True:
        start = max(0, end - reach)
        found = deque((event.sequence for event in events_from(txn, event_type, start)), maxlen=count)
        if len(found) == count or start == 0:
            return found[0] if found else end
        reach *= 2


def _followed(db: Database, run_id: str, event_type: str | None, start: int) -> Iterator[Event | None]:
    """Yield the events from `start` on as they are appended, and None whenever there are no more yet.

    Raises:
        BrokenPipeError: the output has no reader any more.
    """
    head: Event | None = None
    while True:
        looked_at_s = time.monotonic()
        with db.begin(run_id) as txn:
            _expect_still_there(txn, head)
            yield from events_from(txn, event_type, start)
            head = txn.events.head()
        start = max(start, 0 if head is None else head.sequence + 1)
        yield None
        rest_while_read(rest_s(time.monotonic() - looked_at_s, _REST_S_MIN))
        db.refresh()


def _expect_still_there(txn: Transaction, head: Event | None) -> None:
    if head is None:
        if txn.contents.is_empty():
            raise NoError(
                f"run {txn.run_id!r} no longer exists: it was deleted, its contents have expired, "
                "or its owner could not make it durable"
            )
        return
    found = txn.events.read(head.sequence)
    if found is None or found.hash != head.hash:
        raise NoError(
            f"the events of run {txn.run_id!r} up to {head.sequence} no longer exist: "
            "the run was deleted, or its owner could not make them durable"
        )
