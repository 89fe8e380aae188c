"""A run's timeline: its events in order, a page at a time, each with a link to its content."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

from inmem.event_listing import events_from
from inmem.ui.chain_page import chain_of
from inmem.ui.desk import link, shown_value
from inmem.ui.run_facts import facts_of
from inmem.ui.values import preview

if TYPE_CHECKING:
    from markupsafe import Markup
    from starlette.responses import Response

    from inmem import Event
    from inmem.ui.desk import Look
    from inmem.ui.run_facts import RunFacts

PAGE_ROWS: Final = 200
"""Events on a page: a few screens."""

TYPES_SHOWN_MAX: Final = 100
"""Types offered for selection; in a run with more types, any other type can be given in the URL."""

_ERROR_WORD: Final = re.compile(r"(?:^|[^a-z])(?:error|fail|exception)|Error|Fail|Exception")
"""Matches at the beginning of a word in the type: `tool_error`, `ToolError`, but not `onerror`."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event on one line. It keeps only a preview of the payload: a page holds one large payload at a time."""

    sequence: int
    event_type: str
    timestamp: int
    offset_us: int
    payload: Markup

    @property
    def is_error(self) -> bool:
        """Whether the event's type suggests an error."""
        return _ERROR_WORD.search(self.event_type) is not None


def show_events(look: Look) -> Response:
    """Show a page of a run's events, from a sequence number on, or the last page."""
    run, event_type = look.required("run"), look.text("type")
    with look.snapshot(run) as txn:
        facts = facts_of(txn)
        is_at_end = look.text("from") == "end"
        start = max(facts.events - PAGE_ROWS, 0) if is_at_end else look.number("from") or 0
        # Reads one event more than is shown, to know whether there are more.
        found = islice(events_from(txn, event_type, start, batch_size=1), PAGE_ROWS + 1)
        rows = [_row(event, facts) for event in found]
        types = txn.events.types(TYPES_SHOWN_MAX)
    more = rows.pop().sequence if len(rows) > PAGE_ROWS else None
    return look.render(
        "events.html",
        run=facts,
        tab="events",
        chain=chain_of(look, facts),
        rows=rows,
        start=start,
        types=types,
        event_type=event_type,
        tail=link("events", run=run, type=event_type, **{"from": rows[-1].sequence + 1 if rows else start}),
        more=None if more is None else link("events", run=run, type=event_type, **{"from": more}),
    )


def show_event(look: Look) -> Response:
    """Show one whole event."""
    run = look.required("run")
    sequence = look.number("seq") or 0
    with look.snapshot(run) as txn:
        facts = facts_of(txn)
        event = txn.events.read(sequence)
    if event is None:
        raise HTTPException(404, f"run {run!r} has no event {sequence}")
    return look.render(
        "event.html",
        part=look.is_part,
        run=facts,
        tab="events",
        event=event,
        offset_us=_offset_us(event, facts),
        payload=shown_value(event.payload, link("value", run=run, event=sequence)),
    )


def _row(event: Event, run: RunFacts) -> EventRow:
    return EventRow(event.sequence, event.event_type, event.timestamp, _offset_us(event, run), preview(event.payload))


def _offset_us(event: Event, run: RunFacts) -> int:
    return event.timestamp - (event.timestamp if run.start_us is None else run.start_us)
