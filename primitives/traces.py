"""TraceStore: the steps of an agent's reasoning as a forest, indexed by type, tag, parent and time.

A trace is stored as the record (position, parent id, trace type, tags, encoded metadata, encoded fields of its kind)
under its id. Its index entries (trace_index.py) are written in the same transaction. Traces are never changed or
removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from inmem.engine.codec import MalformedValueError, decode_value
from inmem.engine.errors import InvalidKeyError, InvalidValueError, InvariantError, TraceExistsError, TraceNotFoundError
from inmem.engine.keys import Tag, user_key
from inmem.engine.noncopyable import NonCopyable
from inmem.engine.packing import pack
from inmem.engine.shown import type_name
from inmem.primitives import trace_index
from inmem.primitives.index_key import PRESENT, position_of, time_bound, time_of
from inmem.primitives.labels import checked_tags, encoded_new_metadata
from inmem.primitives.paging import at_most
from inmem.primitives.result import Result
from inmem.primitives.trace_kinds import Kind, PackedKind, pack_kind, trace_type_of, unpack_kind
from inmem.primitives.trace_record import TraceRecord, unpack_trace
from inmem.primitives.trace_tree import TraceTree, build_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inmem.engine.commits.transaction import Transaction

_TRACE: Final = int(Tag.TRACE)
_TRACE_INDEX: Final = int(Tag.TRACE_INDEX)

# Inside the class below, `list` is a method.
Ids: TypeAlias = list[str]
Traces: TypeAlias = "list[Trace]"


class Trace(Result, frozen=True):
    """One recorded step.

    Attributes:
        id: unique in its run.
        parent_id: the id of its parent, or None for a root.
        trace_type: "ToolCall", "Decision", "Query", "Thought", "Error" or "Custom".
        timestamp: start of the transaction that recorded it, in microseconds since the epoch; an import preserves it.
        tags: in the given order, without duplicates.
        metadata: a fresh dict, empty if none was given.
        kind: the ToolCall, Decision, … with fresh fields.
    """

    id: str
    parent_id: str | None
    trace_type: str
    timestamp: int
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    kind: Kind


class TraceOperations(NonCopyable):
    """The TraceStore of one run, inside one transaction.

    Every query returns traces in recording order: by the time of the recording transaction, within one microsecond by
    the order in which those transactions began, within a transaction by the order of the calls. Imported traces keep
    their times, and are sorted among the others by time.
    `after` is a trace id: a query returns only traces recorded after that trace. Pass the last id of a page to get the
    next page. The trace need not be among the results, but TraceNotFoundError is raised if it does not exist.
    `limit` is the maximum number of results; None means all.
    """

    __slots__ = ("_index", "_run", "_txn", "_view")

    def __init__(self, txn: Transaction, run: str) -> None:
        self._txn = txn
        self._run = run
        self._view = txn.view(run, _TRACE)
        self._index = txn.view(run, _TRACE_INDEX)

    def __repr__(self) -> str:
        return f"<TraceOperations of run {self._run!r}>"

    def record(self, kind: Kind | PackedKind) -> Trace:
        """Record a root trace with a fresh id. See `record_with_options`."""
        return self.record_with_options(kind)

    def record_child(self, parent_id: str, kind: Kind | PackedKind) -> Trace:
        """Record a child of trace `parent_id`, which must not be None, with a fresh id. See `record_with_options`."""
        require_parent(parent_id)
        return self.record_with_options(kind, parent_id=parent_id)

    def record_with_options(
        self,
        kind: Kind | PackedKind,
        id: str | None = None,  # noqa: A002  the name under which users know it
        parent_id: str | None = None,
        tags: Iterable[str] = (),
        metadata: object = None,
    ) -> Trace:
        """Record a trace and return it.

        Args:
            kind: what happened.
            id: unique in the run; None generates a time-ordered one.
            parent_id: id of an existing trace of the same run; None records a root.
            tags: any strings; duplicates are dropped.
            metadata: a dict of storable values.

        Raises:
            TraceExistsError: the id is already used in the run.
            TraceNotFoundError: the run has no trace `parent_id`.
            InvalidKeyError, InvalidValueError, UsageError: an argument is invalid; nothing was changed.

        Complexity: O(1) plus O(tags) index entries.
        """
        bytes_max = self._txn.limits.value_bytes_max
        packed = pack_kind(kind, bytes_max)
        trace_id = self._txn.new_id() if id is None else id
        key = user_key(trace_id, where="trace id")
        checked = checked_tags(tags)
        metadata_data = encoded_new_metadata(metadata, bytes_max)
        view = self._view
        if parent_id is not None and view.get(user_key(parent_id, where="parent id")) is None:
            raise TraceNotFoundError(parent_id, self._run)
        if view.get(key) is not None:
            raise TraceExistsError(trace_id, self._run)
        position = position_of(self._txn)
        record = TraceRecord(position, parent_id, packed.trace_type, checked, metadata_data, packed.fields)
        view.put(key, pack(record))
        self._index.put_all(trace_index.entries_of(position, key, parent_id, packed.trace_type, checked), PRESENT)
        recorded: Any = decode_value(metadata_data)
        return Trace(trace_id, parent_id, packed.trace_type, self._txn.now_us, checked, recorded, unpack_kind(packed))

    def get(self, trace_id: str) -> Trace | None:
        """Return the trace with this id, or None if there is none. O(1)."""
        data = self._view.get(user_key(trace_id, where="trace id"))
        return None if data is None else trace_of(trace_id, data)

    def query_by_type(self, trace_type: str | type[Kind], limit: int | None = None, after: str | None = None) -> Traces:
        """Return the traces of one type, given by name or class. O(log n) plus O(1) per trace returned.

        Raises:
            UsageError: `trace_type` is not a trace type.
        """
        return self._found(trace_index.of_type(trace_type_of(trace_type)), limit, self._behind(after))

    def query_by_tag(self, tag: str, limit: int | None = None, after: str | None = None) -> Traces:
        """Return the traces that have exactly this tag. O(log n) plus O(1) per trace returned."""
        user_key(tag, where="tag")
        return self._found(trace_index.of_tag(tag), limit, self._behind(after))

    def query_by_time(self, start: int, end: int, limit: int | None = None) -> Traces:
        """Return the traces with start <= timestamp < end, in microseconds. O(log n) plus O(1) per trace returned."""
        return self._found(trace_index.ALL, limit, time_bound(start, "start"), time_bound(end, "end"))

    def get_children(self, trace_id: str, limit: int | None = None, after: str | None = None) -> Traces:
        """Return the trace's children; empty if the trace does not exist. O(log n) plus O(1) per child."""
        user_key(trace_id, where="trace id")
        return self._found(trace_index.children_of(trace_id), limit, self._behind(after))

    def get_tree(self, trace_id: str) -> TraceTree:
        """Return the trace with all its descendants. O(log n) per trace returned.

        Raises:
            TraceNotFoundError: the run has no trace `trace_id`.
        """
        root = self.get(trace_id)
        if root is None:
            raise TraceNotFoundError(trace_id, self._run)
        return build_tree(root, lambda trace: self.get_children(trace.id))

    def roots(self, limit: int | None = None, after: str | None = None) -> Traces:
        """Return the traces that have no parent. O(log n) plus O(1) per trace returned."""
        return self._found(trace_index.ROOTS, limit, self._behind(after))

    def list(self, limit: int | None = None) -> Ids:
        """Return the ids of all traces. O(log n) plus O(1) per id returned."""
        return at_most((key.decode() for key in trace_index.trace_ids(self._index, trace_index.ALL)), limit)

    def count(self) -> int:
        """Return the number of traces. O(log n) plus O(keys written in this transaction)."""
        # Reading one trace is enough to conflict with a deletion: traces are only deleted all at once, with their run.
        self._view.last()
        return self._view.count()

    def check(self) -> None:
        """Raise InvariantError unless the index entries are exactly those of the traces. O(n log n)."""
        expected: list[bytes] = []
        for key, data in self._view.scan():
            trace = unpack_trace(data)
            expected += trace_index.entries_of(trace.position, key, trace.parent_id, trace.trace_type, trace.tags)
        if [key for key, _ in self._index.scan()] != sorted(expected):
            raise InvariantError(f"run {self._run!r}: the trace index does not agree with the traces")

    def _behind(self, trace_id: str | None) -> bytes:
        """Return bytes that sort after the trace's entry in any family and name, and before all later entries."""
        if trace_id is None:
            return b""
        key = user_key(trace_id, where="after")
        data = self._view.get(key)
        if data is None:
            raise TraceNotFoundError(trace_id, self._run)
        return unpack_trace(data).position + key + b"\x00"

    def _found(self, prefix: bytes, limit: int | None, low: bytes = b"", high: bytes | None = None) -> Traces:
        return at_most(self._each(trace_index.trace_ids(self._index, prefix, low, high)), limit)

    def _each(self, keys: Iterator[bytes]) -> Iterator[Trace]:
        for key in keys:
            data = self._view.get(key)
            if data is None:
                raise InvariantError(f"run {self._run!r}: the index names trace {key!r}, which does not exist")
            yield trace_of(key.decode(), data)


def require_parent(parent_id: str | None) -> None:
    """Raise InvalidKeyError if a parent has to be named, and None is."""
    if parent_id is None:
        raise InvalidKeyError("parent id", f"must be a str, not {type_name(parent_id)}")


def trace_of(trace_id: str, data: bytes) -> Trace:
    """Return the trace whose stored form is `data`."""
    record = unpack_trace(data)
    try:
        kind = unpack_kind(PackedKind(record.trace_type, record.fields))
    except (TypeError, LookupError, InvalidValueError) as error:
        raise MalformedValueError(f"it is not a trace: {error}") from error
    metadata: Any = decode_value(record.metadata)
    return Trace(trace_id, record.parent_id, record.trace_type, time_of(record.position), record.tags, metadata, kind)
