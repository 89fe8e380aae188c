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
    """The events of a run in one total order, chained by hashes. No operation changes or removes an event.

    Every call is its own transaction; reads use the newest committed state. Any number of callers may append to one
    run at once: all of them succeed, in one total order.

    See `Database` for the errors that any call may raise.

    Attributes:
        futures: the same operations except `iter`, which reads lazily; each returns a `pykka.Future`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.futures = EventLogFutures(client)

    def append(self, run: RunId, event_type: str, payload: object = None) -> Event:
        """Append one event durably (see `durability`) and return it. Never fails with a conflict.

        Args:
            run: id of the run.
            event_type: what happened: any str of 1 to 1024 bytes in UTF-8.
            payload: None, bool, int, float, str, bytes, list or dict; stored as a copy.

        Raises:
            InvalidKeyError, InvalidValueError: an argument is invalid; nothing was changed.

        Complexity: O(log n) plus O(payload bytes).
        """
        event: Event = self._client.ask(AppendEvent(run, event_type, payload))
        return event

    def append_many(self, run: RunId, events: Iterable[tuple[str, object]]) -> list[Event]:
        """Append (type, payload) pairs in order, consecutively and in one commit; return the events.

        Raises:
            InvalidKeyError, InvalidValueError, UsageError: an argument is invalid; nothing was appended.
        """
        appended: list[Event] = self._client.ask(AppendEvents(run, events))
        return appended

    def read(self, run: RunId, sequence: int) -> Event | None:
        """Return the event with this sequence, or None if the log does not reach that far yet. O(1).

        Raises:
            InvalidKeyError: the run id is invalid, or `sequence` is not a non-negative int.
        """
        return self._read(run).read(sequence)

    def read_range(self, run: RunId, start: int, end: int) -> list[Event]:
        """Return the existing events with sequences in [start, end), in order. O(log n) plus O(1) per event.

        Raises:
            InvalidKeyError: the run id is invalid, or a bound is not a non-negative int.
        """
        return self._read(run).read_range(start, end)

    def head(self, run: RunId) -> Event | None:
        """Return the last event, or None if the log is empty. O(log n)."""
        return self._read(run).head()

    def tail(self, run: RunId, count: int) -> list[Event]:
        """Return the last `count` events in order, or all events if there are fewer.

        Raises:
            UsageError: `count` is not a non-negative int.

        Complexity: O(log n) plus O(1) per event returned, however long the log is.
        """
        return self._read(run).tail(count)

    def len(self, run: RunId) -> int:
        """Return the number of events. O(log n)."""
        return self._read(run).len()

    def iter(self, run: RunId, start: int = 0, *, batch_size: int = BATCH_SIZE) -> Iterator[Event]:
        """Iterate over the current events from `start` to the end, holding at most `batch_size` of them at a time.

        All events come from the snapshot taken at the call: events appended later are not included, and deleting the
        run does not cut the iteration short. The iterator keeps data deleted since then in memory while it lives.

        Args:
            run: id of the run.
            start: sequence of the first event.
            batch_size: number of events decoded at a time.

        Raises:
            InvalidKeyError, UsageError: an argument is invalid; raised by the call itself, not by the iteration.

        Complexity: O(log n) per batch plus O(1) per event.
        """
        events = EventOperations(self._client.reader(), normalize_run_id(run))
        return self._client.while_mine(events.iter(start, batch_size=batch_size))

    def read_by_type(
        self, run: RunId, event_type: str, limit: int | None = None, after: int | None = None
    ) -> list[Event]:
        """Return the events of one type in order, using an index.

        Args:
            run: id of the run.
            event_type: the exact type.
            limit: maximum number of events; None means all.
            after: only events with a greater sequence; pass the last sequence of a page to get the next page.

        Raises:
            InvalidKeyError, UsageError: an argument is invalid.

        Complexity: O(log n) plus O(1) per event returned; events of other types cost nothing.
        """
        return self._read(run).read_by_type(event_type, limit, after)

    def types(self, run: RunId, limit: int | None = None, after: str | None = None) -> list[str]:
        """Return the distinct types of the run's events, sorted by their UTF-8 bytes.

        Args:
            run: id of the run.
            limit: maximum number of types; None means all.
            after: only types greater than this one; pass the last type of a page to get the next page.

        Raises:
            InvalidKeyError, UsageError: an argument is invalid.

        Complexity: O(log n) per type returned, however many events have it.
        """
        return self._read(run).types(limit, after)

    def verify_chain(self, run: RunId, on_progress: Callable[[int], object] | None = None) -> ChainVerification:
        """Recompute every hash and report whether the events are those that were appended. O(bytes of the log).

        Args:
            run: id of the run.
            on_progress: called after every thousand events with the number of events read so far. An exception that
                it raises ends the verification and propagates.

        Raises:
            UsageError: `on_progress` is not callable.
        """
        return self._read(run).verify_chain(on_progress)

    def _read(self, run: RunId) -> EventOperations:
        return EventOperations(self._client.reader(), normalize_run_id(run))


class EventLogFutures(Proxy):
    """The same operations, each returning a `pykka.Future` at once. Requests from one thread are processed in order.

    `iter` is missing, because an iterator cannot be sent as a reply: use `read_range` instead.
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
