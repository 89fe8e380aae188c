"""The contents of a run, item by item: read from one store, and put back unchanged into another.

Everything that belongs to the run survives: times, event hashes, cell versions (a deleted cell keeps its count),
statuses and orders. Key versions belong to the store, because they number its commits: a key that is put back gets the
version of the commit that does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from inmem.engine.codec import decode_value, encode_value
from inmem.engine.errors import InvariantError, RunExistsError, UsageError
from inmem.engine.keys import Tag, event_key, normalize_run_id, user_key
from inmem.engine.limits import INT_MAX
from inmem.engine.packing import pack
from inmem.primitives import trace_index
from inmem.primitives.cell_record import CellRecord, unpack_cell
from inmem.primitives.cells import CellOperations
from inmem.primitives.event_chain import fault_of
from inmem.primitives.event_hash import FIRST_PREVIOUS_HASH
from inmem.primitives.event_record import EventRecord
from inmem.primitives.events import Event, EventOperations, checked_type, index_key
from inmem.primitives.index_key import PRESENT, position_of
from inmem.primitives.kv import KVOperations
from inmem.primitives.labels import checked_error, checked_tags, encoded_metadata
from inmem.primitives.orphans import require_all
from inmem.primitives.run_index import RunEntries
from inmem.primitives.run_record import RunRecord
from inmem.primitives.run_status import status_of
from inmem.primitives.runs import RunMetadata, RunOperations, check_history
from inmem.primitives.trace_kinds import pack_kind
from inmem.primitives.trace_record import TraceRecord
from inmem.primitives.traces import Trace, TraceOperations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inmem.engine.commits.transaction import Transaction


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key of the KVStore with its value, and its deadline in microseconds since the epoch, or None."""

    key: str
    value: Any
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class CellEntry:
    """A StateCell. A deleted cell, whose version count continues if it is created again, has the value None."""

    name: str
    value: Any
    version: int
    updated_at: int
    is_deleted: bool


Item: TypeAlias = RunMetadata | KeyEntry | Event | CellEntry | Trace

_ORDER: Final = (RunMetadata, KeyEntry, Event, CellEntry, Trace)

CELL_VERSION_MAX: Final = 2**62
"""Highest version accepted for a cell that is put back: it must be able to go on counting within 64 bits."""

_NONE: Final = encode_value(None)
_TABLES: Final = (Tag.RUN, Tag.KV, Tag.EVENT, Tag.STATE, Tag.TRACE)


class RunContents:
    """The contents of one run, inside one transaction or reader."""

    __slots__ = ("_bytes_max", "_run", "_txn")

    def __init__(self, txn: Transaction, run: str) -> None:
        self._txn = txn
        self._run = run
        self._bytes_max = txn.limits.value_bytes_max

    def __repr__(self) -> str:
        return f"<RunContents of run {self._run!r}>"

    def holds_data(self) -> bool:
        """Return whether the run, registered or not, holds any readable data. O(log n)."""
        txn, run = self._txn, self._run
        return bool(
            EventOperations(txn, run).len()
            or TraceOperations(txn, run).count()
            or CellOperations(txn, run).list(limit=1)
            or KVOperations(txn, run).list(limit=1)
        )

    def is_empty(self) -> bool:
        """Return whether the run holds nothing that an import would have to preserve. O(tombstones).

        Such a run is not registered and holds no data, not even a deleted cell, whose version count would continue.
        """
        return all(self._txn.view(self._run, tag).last() is None for tag in _TABLES)

    def counts(self) -> dict[str, int]:
        """Return the number of items of each kind that `items` yields. O(items)."""
        tables = zip(("runs", "keys", "events", "cells", "traces"), _TABLES, strict=True)
        return {name: sum(1 for _ in self._txn.view(self._run, tag).scan()) for name, tag in tables}

    def deleted_cells(self) -> int:
        """Return the number of deleted cells among those that `counts` counts. O(cells)."""
        view = self._txn.view(self._run, Tag.STATE)
        return sum(1 for _, data in view.scan() if unpack_cell(data).value is None)

    def items(self) -> Iterator[Item]:
        """Yield the run itself if it is registered, then keys, events, cells and traces, parents before children.

        Keys and cells are in order of their names, events and traces in recording order. O(1) per item.

        Raises:
            StorageError: at the end, if there are traces whose parent is lost: they could not be put back.
        """
        registered = RunOperations(self._txn).get_run(self._run)
        if registered is not None:
            yield registered
        yield from self._keys()
        yield from EventOperations(self._txn, self._run).iter()
        yield from self._cells()
        yield from self._traces()

    def trace_ids(self) -> Iterator[str]:
        """Yield the ids of the traces in the order in which `items` yields them. O(1) per id."""
        return (trace.id for trace in self._traces())

    def put_back(self, items: Iterable[Item]) -> None:
        """Put items, given in the order of `items`, into this store, where the run must not exist.

        Values may be `Encoded`. All input is treated as untrusted and checked, including the event chain. The exception
        is the order of traces, which is known only when all of them are present: the caller compares `trace_ids`. The
        parent run need not exist in this store; the run still names it.

        Raises:
            RunExistsError: the run is registered, or is not empty.
            InvalidValueError: a value cannot be stored, or is larger than this store accepts.
            UsageError: an item is invalid; the caller must not commit the items before it.

        Complexity: O(items).
        """
        if not self.is_empty():
            raise RunExistsError(self._run)
        head = (-1, 0, FIRST_PREVIOUS_HASH)
        place = (0, "")
        for item in items:
            before, place = place, _place_of(item)
            if place < before:
                raise UsageError("item: belongs before the one that is before it")
            match item:
                case RunMetadata():
                    self._put_run(item)
                case KeyEntry():
                    self._put_key(item)
                case Event():
                    head = self._put_event(item, *head)
                case CellEntry():
                    self._put_cell(item)
                case Trace():
                    self._put_trace(item)

    def _keys(self) -> Iterator[KeyEntry]:
        view = self._txn.view(self._run, Tag.KV)
        for key, _ in view.scan():
            entry = view.get_entry(key)
            if entry is not None and entry[1] is not None:
                yield KeyEntry(key.decode(), decode_value(entry[1]), entry[2] or None)

    def _cells(self) -> Iterator[CellEntry]:
        for key, data in self._txn.view(self._run, Tag.STATE).scan():
            cell = unpack_cell(data)
            value = None if cell.value is None else decode_value(cell.value)
            yield CellEntry(key.decode(), value, cell.version, cell.updated_at, cell.value is None)

    def _traces(self) -> Iterator[Trace]:
        traces = TraceOperations(self._txn, self._run)
        seen: set[str] = set()
        waiting: dict[str, list[Trace]] = {}
        for trace_id in traces.list():
            trace = traces.get(trace_id)
            if trace is None:
                raise InvariantError(f"run {self._run!r}: the index names trace {trace_id!r}, which does not exist")
            # A child is recorded after its parent, but its time can be earlier if the parent was put back from a store
            # whose clock was ahead.
            if trace.parent_id is not None and trace.parent_id not in seen:
                waiting.setdefault(trace.parent_id, []).append(trace)
                continue
            ready = [trace]
            for each in ready:
                seen.add(each.id)
                yield each
                ready += waiting.pop(each.id, [])
        require_all(traces, self._run, len(seen))

    def _put_run(self, run: RunMetadata) -> None:
        if run.run_id != self._run:
            raise UsageError(f"run_id: must be {self._run!r}, not {run.run_id!r}")
        view = self._txn.view(self._run, Tag.RUN)
        if view.last() is not None:
            raise UsageError("run_id: is there twice")
        record = RunRecord(
            position_of(self._txn, _moment(run.created_at, "created_at")),
            None if run.parent_run is None else normalize_run_id(run.parent_run),
            status_of(run.status),
            _moment(run.updated_at, "updated_at"),
            None if run.completed_at is None else _moment(run.completed_at, "completed_at"),
            checked_tags(run.tags),
            encoded_metadata(run.metadata, self._bytes_max),
            None if run.error is None else checked_error(run.error, self._bytes_max),
        )
        check_history(run)
        RunEntries(self._txn).store(self._run, None, record)

    def _put_key(self, entry: KeyEntry) -> None:
        key = user_key(entry.key)
        view = self._txn.view(self._run, Tag.KV)
        if view.wrote(key):
            raise UsageError(f"key: {entry.key!r} is there twice")
        # In a table, a deadline of 0 means that the key never expires.
        expires_at = 0 if entry.expires_at is None else _moment(entry.expires_at, "expires_at", earliest=1)
        view.put(key, encode_value(entry.value, "value", self._bytes_max), expires_at)

    def _put_event(self, event: Event, last_sequence: int, last_time: int, last_hash: bytes) -> tuple[int, int, bytes]:
        if event.sequence != last_sequence + 1:
            raise UsageError(f"sequence: must be {last_sequence + 1}, not {event.sequence}")
        payload = encode_value(event.payload, "payload", self._bytes_max)
        timestamp = _moment(event.timestamp, "timestamp")
        record = EventRecord(checked_type(event.event_type), payload, timestamp, event.prev_hash, event.hash)
        fault = fault_of(self._run, event.sequence, record, last_time, last_hash)
        if fault is not None:
            raise UsageError(fault)
        key = event_key(event.sequence)
        self._txn.view(self._run, Tag.EVENT).put(key, pack(record))
        self._txn.view(self._run, Tag.EVENT_INDEX).put(index_key(event.event_type, key), PRESENT)
        return event.sequence, event.timestamp, event.hash

    def _put_cell(self, cell: CellEntry) -> None:
        key = user_key(cell.name, where="name")
        view = self._txn.view(self._run, Tag.STATE)
        if view.wrote(key):
            raise UsageError(f"name: the cell {cell.name!r} is there twice")
        if not 1 <= cell.version <= CELL_VERSION_MAX:
            raise UsageError(f"version: must be from 1 to {CELL_VERSION_MAX}, not {cell.version}")
        value = encode_value(cell.value, "value", self._bytes_max)
        if cell.is_deleted and value != _NONE:
            raise UsageError("value: must be None, as the cell is deleted")
        stored = None if cell.is_deleted else value
        view.put(key, pack(CellRecord(cell.version, _moment(cell.updated_at, "updated_at"), stored)))

    def _put_trace(self, trace: Trace) -> None:
        packed = pack_kind(trace.kind, self._bytes_max)
        key = user_key(trace.id, where="id")
        tags = checked_tags(trace.tags)
        view = self._txn.view(self._run, Tag.TRACE)
        if view.wrote(key):
            raise UsageError(f"id: the trace {trace.id!r} is there twice")
        if trace.parent_id is not None and not view.wrote(user_key(trace.parent_id, where="parent_id")):
            raise UsageError(f"parent_id: there is no trace {trace.parent_id!r} before this one")
        position = position_of(self._txn, _moment(trace.timestamp, "timestamp"))
        metadata = encoded_metadata(trace.metadata, self._bytes_max)
        record = TraceRecord(position, trace.parent_id, packed.trace_type, tags, metadata, packed.fields)
        view.put(key, pack(record))
        index = self._txn.view(self._run, Tag.TRACE_INDEX)
        index.put_all(trace_index.entries_of(position, key, trace.parent_id, packed.trace_type, tags), PRESENT)


def _place_of(item: Item) -> tuple[int, str]:
    """Return a sort key for the order of `items`, as far as one item alone determines its place."""
    match item:
        case KeyEntry(name) | CellEntry(name):
            return _ORDER.index(type(item)), name
        case _:
            return _ORDER.index(type(item)), ""


def _moment(time_us: int, where: str, earliest: int = 0) -> int:
    if not earliest <= time_us <= INT_MAX:
        raise UsageError(f"{where}: must be microseconds since the epoch, not {time_us}")
    return time_us
