"""`db.events`: the EventLog as a plain object."""

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
from inmem.actors.proxies.proxy import Proxy
from inmem.engine.keys import normalize_run_id
from inmem.primitives.events import BATCH_SIZE, EventOperations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pykka

    from inmem.actors.client.client import Client
    from inmem.actors.proxies.kv import RunId
    from inmem.primitives.event_chain import ChainVerification
    from inmem.primitives.events import Event


class EventLog(Proxy):
    """What happened in a run, in one order, chained by hashes. Nothing changes or removes an event.

    Every call is a transaction of its own; reads look at the newest committed state. Any number of callers may append
    to one run at once: all succeed, in one total order.

    Errors that any call may raise are named at `Database`.

    Attributes:
        futures: the same operations but `iter`, which reads as it goes, each returning a `pykka.Future`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.futures = EventLogFutures(client)

    def append(self, run: RunId, event_type: str, payload: object = None) -> Event:
        """Append one event durably (see `durability`) and return it. Never fails by conflict.

        Args:
            run: id of the run.
            event_type: what happened: any str of 1 to 1024 bytes of UTF-8.
            payload: None, bool, int, float, str, bytes, list, dict; copied.

        Raises:
            InvalidKeyError, InvalidValueError: an argument is not acceptable; nothing was changed.

        Complexity: O(log n) plus O(payload bytes).
        """
        event: Event = self._client.ask(AppendEvent(run, event_type, payload))
        return event

    def append_many(self, run: RunId, events: Iterable[tuple[str, object]]) -> list[Event]:
        """Append (type, payload) pairs in this order, without a gap and in one commit; return the events.

        Raises:
            InvalidKeyError, InvalidValueError, UsageError: one of them is not acceptable; none was appended.
        """
        appended: list[Event] = self._client.ask(AppendEvents(run, events))
        return appended

    def read(self, run: RunId, sequence: int) -> Event | None:
        """Return the event, or None if there are not that many yet. O(1).

        Raises:
            InvalidKeyError: the run is no id, or `sequence` is not an int of at least 0.
        """
        return self._read(run).read(sequence)

    def read_range(self, run: RunId, start: int, end: int) -> list[Event]:
        """Return the events of [start, end) that there are, in order. O(log n) plus O(1) per event.

        Raises:
            InvalidKeyError: the run is no id, or a bound is not an int of at least 0.
        """
        return self._read(run).read_range(start, end)

    def head(self, run: RunId) -> Event | None:
        """Return the last event, or None if there is none. O(log n)."""
        return self._read(run).head()

    def tail(self, run: RunId, count: int) -> list[Event]:
        """Return the last `count` events, or all if there are not that many, in order.

        Raises:
            UsageError: `count` is not a non-negative int.

        Complexity: O(log n) plus O(1) per event returned, however long the log is.
        """
        return self._read(run).tail(count)

    def len(self, run: RunId) -> int:
        """Return how many events there are. O(log n)."""
        return self._read(run).len()

    def iter(self, run: RunId, start: int = 0, *, batch_size: int = BATCH_SIZE) -> Iterator[Event]:
        """Iterate over the events that there are now, from `start` to the end, holding `batch_size` of them at a time.

        All come from the snapshot at the call: events appended meanwhile are not among them, and if the run is
        deleted meanwhile they all still come. What was deleted since takes memory for as long as the iterator lives.

        Args:
            run: id of the run.
            start: sequence of the first event.
            batch_size: how many events are decoded at a time.

        Raises:
            InvalidKeyError, UsageError: an argument is not acceptable; raised at the call.

        Complexity: O(log n) per batch plus O(1) per event.
        """
        events = EventOperations(self._client.reader(), normalize_run_id(run))
        return self._client.while_mine(events.iter(start, batch_size=batch_size))

    def read_by_type(
        self, run: RunId, event_type: str, limit: int | None = None, after: int | None = None
    ) -> list[Event]:
        """Return the events of one type, in order, through an index.

        Args:
            run: id of the run.
            event_type: the exact type.
            limit: at most so many.
            after: only events with a greater sequence: the last of one page begins the next.

        Raises:
            InvalidKeyError, UsageError: an argument is not acceptable.

        Complexity: O(log n) plus O(1) per event returned, whatever lies between.
        """
        return self._read(run).read_by_type(event_type, limit, after)

    def types(self, run: RunId, limit: int | None = None, after: str | None = None) -> list[str]:
        """Return the types that the run's events have, each once, sorted by their UTF-8 bytes.

        Args:
            run: id of the run.
            limit: at most so many.
            after: only types greater than this one: the last of one page begins the next.

        Raises:
            InvalidKeyError, UsageError: an argument is not acceptable.

        Complexity: O(log n) per type returned, however many events have it.
        """
        return self._read(run).types(limit, after)

    def verify_chain(self, run: RunId, on_progress: Callable[[int], object] | None = None) -> ChainVerification:
        """Recompute every hash and tell whether the events are the ones that were appended. O(bytes of the log).

        Args:
            run: id of the run.
            on_progress: called with the number of events that have been read, every thousand of them; what it raises
                ends the verification and is passed on.

        Raises:
            UsageError: `on_progress` is no function.
        """
        return self._read(run).verify_chain(on_progress)

    def _read(self, run: RunId) -> EventOperations:
        return EventOperations(self._client.reader(), normalize_run_id(run))


class EventLogFutures(Proxy):
    """The same operations, each returning a `pykka.Future` at once. What one thread sends is done in that order.

    All but `iter`: an iterator is not an answer that arrives. Ask for ranges instead.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._send = client.send

    def append(self, run: RunId, event_type: str, payload: Any = None) -> pykka.Future[Event]:
        """See `EventLog.append`."""
        return self._send(AppendEvent(run, event_type, payload))

    def append_many(self, run: RunId, events: Iterable[tuple[str, Any]]) -> pykka.Future[list[Event]]:
        """See `EventLog.append_many`."""
        return self._send(AppendEvents(run, events))

    def read(self, run: RunId, sequence: int) -> pykka.Future[Event | None]:
        """See `EventLog.read`."""
        return self._send(ReadEvent(run, sequence))

    def read_range(self, run: RunId, start: int, end: int) -> pykka.Future[list[Event]]:
        """See `EventLog.read_range`."""
        return self._send(ReadEvents(run, start, end))

    def head(self, run: RunId) -> pykka.Future[Event | None]:
        """See `EventLog.head`."""
        return self._send(HeadEvent(run))

    def tail(self, run: RunId, count: int) -> pykka.Future[list[Event]]:
        """See `EventLog.tail`."""
        return self._send(TailEvents(run, count))

    def len(self, run: RunId) -> pykka.Future[int]:
        """See `EventLog.len`."""
        return self._send(CountEvents(run))

    def read_by_type(
        self, run: RunId, event_type: str, limit: int | None = None, after: int | None = None
    ) -> pykka.Future[list[Event]]:
        """See `EventLog.read_by_type`."""
        return self._send(ReadEventsByType(run, event_type, limit, after))

    def types(self, run: RunId, limit: int | None = None, after: str | None = None) -> pykka.Future[list[str]]:
        """See `EventLog.types`."""
        return self._send(ListEventTypes(run, limit, after))

    def verify_chain(self, run: RunId) -> pykka.Future[ChainVerification]:
        """See `EventLog.verify_chain`."""
        return self._send(VerifyEvents(run))
