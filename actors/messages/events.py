"""Requests to the EventLog actor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from inmem.actors.messages import edge
from inmem.actors.messages.request import Request
from inmem.engine.keys import normalize_run_id
from inmem.primitives.events import checked_type


class AppendEvent(Request, frozen=True):
    """Append an event. Answered by the Event."""

    run: str | UUID
    event_type: str
    payload: Any = None

    EDGE: ClassVar = {"run": normalize_run_id, "event_type": checked_type, "payload": edge.value("payload")}


class AppendEvents(Request, frozen=True):
    """Append (type, payload) pairs: all, or none if one is refused. Answered by the list of Events."""

    run: str | UUID
    events: Iterable[tuple[str, Any]]

    EDGE: ClassVar = {"run": normalize_run_id, "events": edge.events}


class ReadEvent(Request, frozen=True):
    """Answered by the Event with that sequence, or None."""

    run: str | UUID
    sequence: int

    EDGE: ClassVar = {"run": normalize_run_id, "sequence": edge.sequence}


class ReadEvents(Request, frozen=True):
    """Answered by the list of Events in [start, end)."""

    run: str | UUID
    start: int
    end: int

    EDGE: ClassVar = {"run": normalize_run_id, "start": edge.sequence, "end": edge.sequence}


class HeadEvent(Request, frozen=True):
    """Answered by the last Event, or None."""

    run: str | UUID


class CountEvents(Request, frozen=True):
    """Answered by the number of events."""

    run: str | UUID


class ReadEventsByType(Request, frozen=True):
    """Answered by the list of Events of one type, in order."""

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
    """Answered by the types that the run's events have, each once, sorted."""

    run: str | UUID
    limit: int | None = None
    after: str | None = None

    EDGE: ClassVar = {"run": normalize_run_id, "limit": edge.limit, "after": edge.optional(checked_type)}


class VerifyEvents(Request, frozen=True):
    """Recompute the hash chain. Answered by a ChainVerification."""

    run: str | UUID
