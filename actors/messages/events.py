"""Requests to the EventLog actor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from inmem.actors.messages import edge
from inmem.actors.messages.request import Request
from inmem.engine.keys import normalize_run_id
from inmem.primitives.arguments import checked_count
from inmem.primitives.events import checked_type


class AppendEvent(Request, frozen=True):
    """Append an event. The reply is the Event."""

    run: str | UUID
    event_type: str
    payload: Any = None

    EDGE: ClassVar = {"run": normalize_run_id, "event_type": checked_type, "payload": edge.value("payload")}


class AppendEvents(Request, frozen=True):
    """Append (type, payload) pairs: all, or none if one is refused. The reply is the list of Events."""

    run: str | UUID
    events: Iterable[tuple[str, Any]]

    EDGE: ClassVar = {"run": normalize_run_id, "events": edge.events}


class ReadEvent(Request, frozen=True):
    """Read one event. The reply is the Event with this sequence, or None."""

    run: str | UUID
    sequence: int

    EDGE: ClassVar = {"run": normalize_run_id, "sequence": edge.sequence}


class ReadEvents(Request, frozen=True):
    """Read a range of events. The reply is the list of Events in [start, end)."""

    run: str | UUID
    start: int
    end: int

    EDGE: ClassVar = {"run": normalize_run_id, "start": edge.sequence, "end": edge.sequence}


class HeadEvent(Request, frozen=True):
    """Read the last event. The reply is the Event, or None."""

    run: str | UUID


class TailEvents(Request, frozen=True):
    """Read the last events. The reply is the list of the last `count` Events, in order."""

    run: str | UUID
    count: int

    EDGE: ClassVar = {"run": normalize_run_id, "count": checked_count}


class CountEvents(Request, frozen=True):
    """Count the events. The reply is their number."""

    run: str | UUID


class ReadEventsByType(Request, frozen=True):
    """Read the events of one type. The reply is the list of Events, in order."""

    run: str | UUID
    event_type: str
    limit: int | None = None
    after: int | None = None

    EDGE: ClassVar = {
        "run": normalize_run_id,
        "event_type": checked_type,
        "limit": edge.limit,
        "after": edge.optional(edge.sequence),
    }


class ListEventTypes(Request, frozen=True):
    """List the types of the run's events. The reply is the list of distinct types, sorted."""

    run: str | UUID
    limit: int | None = None
    after: str | None = None

    EDGE: ClassVar = {"run": normalize_run_id, "limit": edge.limit, "after": edge.optional(checked_type)}


class VerifyEvents(Request, frozen=True):
    """Recompute the hash chain. The reply is a ChainVerification."""

    run: str | UUID
