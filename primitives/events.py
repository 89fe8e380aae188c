"""EventLog: the events of a run in one total order, each chained to the previous event by its hash.

An event is stored as the record (type, encoded payload, timestamp, previous hash, hash) under its 8-byte sequence. Its
entry in the run's EVENT_INDEX, (name component of the type, sequence), is written in the same transaction.

No head is stored: the last live key is the head. Two transactions that append to one run write the same next key, and
the first committer wins. A transaction that only reads the head remembers the next key as absent, so an append
conflicts with it. An aborted append uses up no sequence.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from inmem.engine.codec import decode_value, encode_value
from inmem.engine.errors import InvalidKeyError, InvariantError, UsageError
from inmem.engine.keys import Tag, event_key, prefix_end, sequence_of, user_key
from inmem.engine.limits import INT_MAX
from inmem.engine.noncopyable import NonCopyable
from inmem.engine.packing import pack
from inmem.engine.shown import shown
from inmem.primitives.arguments import checked_count, require_callable_or_none, several
from inmem.primitives.event_chain import ChainVerification, verify_records
from inmem.primitives.event_hash import FIRST_PREVIOUS_HASH, event_hash
from inmem.primitives.event_record import EventRecord, unpack_event
from inmem.primitives.index_key import PRESENT, name_component, name_in
from inmem.primitives.paging import at_most
from inmem.primitives.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from inmem.engine.commits.transaction import Transaction

_EVENT: Final = int(Tag.EVENT)
_EVENT_INDEX: Final = int(Tag.EVENT_INDEX)

BATCH_SIZE = 1000
"""Events that `iter` reads ahead: enough to amortize the start of a range scan, few enough to hold in memory."""

Events: TypeAlias = "list[Event]"
Names: TypeAlias = list[str]


class Event(Result, frozen=True):
    """One event.

    Attributes:
        sequence: 0, 1, 2, … in its run.
        event_type: what happened, in a word.
        payload: a fresh copy of the stored payload.
        timestamp: microseconds since the epoch; never decreases within a run.
        prev_hash: the hash of the previous event; 32 zero bytes for the first.
        hash: computed as event_hash.py describes.
    """

    sequence: int
    event_type: str
    payload: Any
    timestamp: int
    prev_hash: bytes
    hash: bytes

    def __repr__(self) -> str:
        return (
            f"Event(sequence={self.sequence}, event_type={self.event_type!r}, payload={self.payload!r}, "
            f"timestamp={self.timestamp}, prev_hash={_short(self.prev_hash)}, hash={_short(self.hash)})"
        )

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        short = {"prev_hash": _short(self.prev_hash), "hash": _short(self.hash)}
        return [(name, short.get(name, getattr(self, name))) for name in self.__struct_fields__]


class EventOperations(NonCopyable):
    """The EventLog of one run, inside one transaction. Append-only: no operation changes or removes an event."""

    __slots__ = ("_bytes_max", "_index", "_now_us", "_run", "_view")

    def __init__(self, txn: Transaction, run: str) -> None:
        self._run = run
        self._view = txn.view(run, _EVENT)
        self._index = txn.view(run, _EVENT_INDEX)
        self._now_us = txn.now_us
        self._bytes_max = txn.limits.value_bytes_max

    def __repr__(self) -> str:
        return f"<EventOperations of run {self._run!r}>"

    def append(self, event_type: str, payload: object = None) -> Event:
        """Append one event and return it. See `append_many`."""
        checked_type(event_type, "event_type")
        return self._append([(event_type, encode_value(payload, "payload", self._bytes_max))])[0]

    def append_many(self, events: Iterable[tuple[str, object]]) -> Events:
        """Append (type, payload) pairs in order and return the events. If one pair is refused, none is appended.

        Sequences follow the last event's without a gap. The timestamp is the transaction's, or the last event's if
        that is later. If another transaction appends to the same run and commits first, this one conflicts.

        Raises:
            InvalidKeyError: a type is empty or not a valid key.
            InvalidValueError: a payload cannot be stored.
            UsageError: an item of `events` is not a pair, or `events` is not iterable.

        Complexity: O(log n) plus O(payload bytes).
        """
        return self._append(encoded_events(events, self._bytes_max))

    def read(self, sequence: int) -> Event | None:
        """Return the event with this sequence, or None if the log does not reach that far yet. O(1)."""
        data = self._view.get(bounded_event_key(sequence))
        return None if data is None else event_of(sequence, data)

    def read_range(self, start: int, end: int) -> Events:
        """Return the existing events with sequences in [start, end), in order. O(log n) plus O(1) per event."""
        return [
            event_of(sequence_of(key), data)
            for key, data in self._view.scan(bounded_event_key(start), bounded_event_key(end))
        ]

    def head(self) -> Event | None:
        """Return the last event, or None if the log is empty. Conflicts with a concurrent append by others."""
        last = self._last()
        return None if last is None else event_of(*last)

    def tail(self, count: int) -> Events:
        """Return the last `count` events in order, or all events if there are fewer.

        Conflicts with a concurrent append by others.

        Raises:
            UsageError: `count` is not a non-negative int.

        Complexity: O(log n) plus O(1) per event returned, however long the log is.
        """
        wanted = min(checked_count(count), INT_MAX)
        self._last()
        newest = [*islice(self._view.scan(reverse=True), wanted)]
        return [event_of(sequence_of(key), data) for key, data in reversed(newest)]

    def len(self) -> int:
        """Return the number of events. Conflicts with a concurrent append by others. O(log n)."""
        last = self._last()
        return 0 if last is None else last[0] + 1

    def iter(self, start: int = 0, *, batch_size: int = BATCH_SIZE) -> Iterator[Event]:
        """Iterate over the events from `start` to the current head, holding at most `batch_size` of them at a time.

        Raises:
            InvalidKeyError: `start` is not a non-negative int.
            UsageError: `batch_size` is not a positive int.
        """
        if type(batch_size) is not int or batch_size < 1:
            raise UsageError(f"batch_size: must be an int of at least 1, not {shown(batch_size)}")
        bounded_event_key(start)
        end = self.len()
        return self._iterate(start, end, batch_size)

    def read_by_type(self, event_type: str, limit: int | None = None, after: int | None = None) -> Events:
        """Return the events of one type, in order.

        Args:
            event_type: the exact type.
            limit: maximum number of events; None means all.
            after: only events with a greater sequence; pass the last sequence of a page to get the next page.

        Complexity: O(log n) plus O(1) per event returned; events of other types cost nothing.
        """
        prefix = name_component(checked_type(event_type, "event_type"))
        start = prefix if after is None else prefix + bounded_event_key(after) + b"\x00"
        entries = self._index.scan(start, prefix_end(prefix))
        return at_most((self._indexed(key) for key, _ in entries), limit)

    def types(self, limit: int | None = None, after: str | None = None) -> Names:
        """Return the distinct types of the run's events, sorted by their UTF-8 bytes.

        Args:
            limit: maximum number of types; None means all.
            after: only types greater than this one; pass the last type of a page to get the next page.

        Complexity: O(log n) per type returned, however many events have it.
        """
        return at_most(self._types(after), limit)

    def verify_chain(self, on_progress: Callable[[int], object] | None = None) -> ChainVerification:
        """Recompute every hash and compare. O(bytes of the log), holding one event at a time.

        Args:
            on_progress: called after every `BATCH_SIZE` events with the number of events read so far. An exception
                that it raises ends the verification.

        Raises:
            UsageError: `on_progress` is not callable.
        """
        require_callable_or_none("on_progress", "a function that takes the number of events read", on_progress)
        records = self._view.scan()
        return verify_records(self._run, records if on_progress is None else _reported(records, on_progress))

    def check(self) -> None:
        """Raise InvariantError unless the chain is valid and the index has exactly one entry per event. O(n)."""
        verification = self.verify_chain()
        if not verification.is_valid:
            raise InvariantError(f"run {self._run!r}: {verification.error}")
        expected = sorted(index_key(unpack_event(data).event_type, key) for key, data in self._view.scan())
        if [key for key, _ in self._index.scan()] != expected:
            raise InvariantError(f"run {self._run!r}: the index of event types does not agree with the events")

    def _append(self, events: list[tuple[str, bytes]]) -> Events:
        last = self._view.last()
        if last is None:
            sequence, timestamp, previous_hash = 0, self._now_us, FIRST_PREVIOUS_HASH
        else:
            key, record = last
            head = unpack_event(record)
            previous_hash = head.hash
            sequence = sequence_of(key) + 1
            # Not `max`, which takes four times as long.
            timestamp = self._now_us if self._now_us > head.timestamp else head.timestamp  # noqa: FURB136
        run, view, index = self._run, self._view, self._index
        appended: list[Event] = []
        for event_type, payload in events:
            new_hash = event_hash(run, sequence, event_type, payload, timestamp, previous_hash)
            key = event_key(sequence)
            view.put(key, pack(EventRecord(event_type, payload, timestamp, previous_hash, new_hash)))
            index.put(index_key(event_type, key), PRESENT)
            appended.append(Event(sequence, event_type, decode_value(payload), timestamp, previous_hash, new_hash))
            sequence += 1
            previous_hash = new_hash
        return appended

    def _types(self, after: str | None) -> Iterator[str]:
        passed = b"" if after is None else name_component(checked_type(after, "after"))
        while True:
            start = prefix_end(passed) if passed else b""
            found = None if start is None else next(self._index.scan(start), None)
            if found is None:
                return
            passed = found[0][:-8]
            yield name_in(passed)

    def _iterate(self, start: int, end: int, batch_size: int) -> Iterator[Event]:
        for at in range(start, end, batch_size):
            for event in self.read_range(at, min(at + batch_size, end)):
                yield event
                # The batch is already in memory, so nothing else would notice that the transaction has ended.
                self._view.require_active()

    def _last(self) -> tuple[int, bytes] | None:
        """Return the sequence and record of the head, and remember the next key as absent."""
        last = self._view.last()
        sequence = -1 if last is None else sequence_of(last[0])
        self._view.get(event_key(sequence + 1))
        return None if last is None else (sequence, last[1])

    def _indexed(self, entry: bytes) -> Event:
        key = entry[-8:]
        data = self._view.get(key)
        if data is None:
            raise InvariantError(f"run {self._run!r}: the index names event {sequence_of(key)}, which does not exist")
        return event_of(sequence_of(key), data)


def _short(event_hash: bytes) -> str:
    """Return the first digits of a hash, enough to recognize it: a whole hash would drown the other fields."""
    return f"{event_hash[:4].hex()}…"


def event_of(sequence: int, data: bytes) -> Event:
    """Return the event whose stored form is `data`."""
    record = unpack_event(data)
    payload: Any = decode_value(record.payload)
    return Event(sequence, record.event_type, payload, record.timestamp, record.prev_hash, record.hash)


def index_key(event_type: str, key: bytes) -> bytes:
    """Return the EVENT_INDEX entry of the event of this type under `key`."""
    return name_component(event_type) + key


def bounded_event_key(sequence: int) -> bytes:
    """Return the key of the event with this sequence, capped at the highest possible sequence.

    Raises:
        InvalidKeyError: `sequence` is not exactly an int, or negative.
    """
    return event_key(min(sequence, INT_MAX) if type(sequence) is int else sequence)


def checked_type(event_type: str, where: str = "event_type") -> str:
    """Return the type of an event.

    Raises:
        InvalidKeyError: the type is empty or not a valid key.
    """
    if not user_key(event_type, where=where):
        raise InvalidKeyError(where, "must not be empty")
    return event_type


def encoded_events(events: Iterable[Any], bytes_max: int) -> list[tuple[str, bytes]]:
    """Return the (type, payload) pairs with each payload encoded, in at most `bytes_max` bytes.

    Raises:
        InvalidKeyError, InvalidValueError, UsageError: a pair is invalid; the message says which.
    """
    encoded: list[tuple[str, bytes]] = []
    for at, event in enumerate(several("events", events)):
        given: object = event
        kind = type(given)
        if (kind is not tuple and kind is not list) or len(event) != 2:
            raise UsageError(f"events[{at}]: must be a pair (event_type, payload), not {shown(event)}")
        # Unpacked only once: if `event` is a list, another thread may change it between the checks and the use.
        event_type, payload = event
        checked_type(event_type, f"events[{at}].event_type")
        encoded.append((event_type, encode_value(payload, f"events[{at}].payload", bytes_max)))
    return encoded


def _reported(
    records: Iterator[tuple[bytes, bytes]], on_progress: Callable[[int], object]
) -> Iterator[tuple[bytes, bytes]]:
    for count, record in enumerate(records, 1):
        yield record
        if count % BATCH_SIZE == 0:
            on_progress(count)
