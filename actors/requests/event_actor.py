"""The EventLog actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.messages.events import (
    AppendEvent,
    AppendEvents,
    CountEvents,
    HeadEvent,
    ListEventTypes,
    ReadEvent,
    ReadEvents,
    ReadEventsByType,
    TailEvents,
    VerifyEvents,
)
from inmem.actors.requests.primitive_actor import PrimitiveActor
from inmem.engine.errors import InvariantError
from inmem.primitives.events import EventOperations

if TYPE_CHECKING:
    from inmem.engine.commits.transaction import Transaction


class EventActor(PrimitiveActor):
    """Carries out EventLog requests. Appends that arrive together share a commit and take consecutive sequences."""

    HANDLES = (
        AppendEvent,
        AppendEvents,
        ReadEvent,
        ReadEvents,
        HeadEvent,
        TailEvents,
        CountEvents,
        ReadEventsByType,
        ListEventTypes,
        VerifyEvents,
    )

    def perform(self, txn: Transaction, message: Any) -> Any:
        """Carry out one request."""
        events = EventOperations(txn, message.run)
        if type(message) is AppendEvent:  # the common request, without the cost of a pattern
            return events.append(message.event_type, message.payload)
        match message:
            case AppendEvents(_, pairs):
                return events.append_many(pairs)
            case ReadEvent(_, sequence):
                return events.read(sequence)
            case ReadEvents(_, start, end):
                return events.read_range(start, end)
            case HeadEvent():
                return events.head()
            case TailEvents(_, count):
                return events.tail(count)
            case CountEvents():
                return events.len()
            case ReadEventsByType(_, event_type, limit, after):
                return events.read_by_type(event_type, limit, after)
            case ListEventTypes(_, limit, after):
                return events.types(limit, after)
            case VerifyEvents():
                return events.verify_chain()
            case _:
                raise InvariantError(f"the EventLog cannot handle {type(message).__name__}")
