"""`db.traces`: the TraceStore as a plain object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from inmem.actors.messages.traces import (
    CountTraces,
    GetTrace,
    GetTraceChildren,
    GetTraceTree,
    ListRootTraces,
    ListTraces,
    QueryTracesByTag,
    QueryTracesByTime,
    QueryTracesByType,
    RecordTrace,
)
from inmem.actors.proxies.proxy import Proxy
from inmem.engine.keys import normalize_run_id
from inmem.primitives.traces import Trace, TraceOperations, require_parent

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pykka

    from inmem.actors.client.client import Client
    from inmem.actors.proxies.kv import RunId
    from inmem.primitives.trace_kinds import Kind
    from inmem.primitives.trace_tree import TraceTree

# Inside the classes below, `list` is a method.
Ids: TypeAlias = list[str]
Traces: TypeAlias = list[Trace]


class TraceStore(Proxy):
    """The steps of an agent's reasoning as a forest, indexed by type, tag, parent and time. Traces never change.

    Every query returns traces in recording order. `limit` is the maximum number of results; None means all. `after` is
    a trace id: only traces recorded after that trace are returned, and TraceNotFoundError is raised if it does not
    exist. Every call is its own transaction; reads use the newest committed state. See `Database` for the errors that
    any call may raise; an invalid argument raises InvalidKeyError, InvalidValueError or UsageError.

    Attributes:
        futures: the same operations, each returning a `pykka.Future`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.futures = TraceStoreFutures(client)

    def record(self, run: RunId, kind: Kind) -> Trace:
        """Record a root trace durably (see `durability`) with a fresh id, and return it.

        Args:
            run: id of the run.
            kind: a ToolCall, Decision, Query, Thought, ErrorTrace or Custom; stored as a copy.

        Raises:
            InvalidValueError: a field of `kind` cannot be stored; nothing was recorded.
        """
        trace: Trace = self._client.ask(RecordTrace(run, kind))
        return trace

    def record_child(self, run: RunId, parent_id: str, kind: Kind) -> Trace:
        """Record a child of trace `parent_id` with a fresh id, and return it.

        Raises:
            TraceNotFoundError: the run has no trace `parent_id`.
            InvalidKeyError, InvalidValueError, UsageError: an argument is invalid; nothing was recorded.
        """
        require_parent(parent_id)
        trace: Trace = self._client.ask(RecordTrace(run, kind, parent_id=parent_id))
        return trace

    def record_with_options(
        self,
        run: RunId,
        kind: Kind,
        id: str | None = None,  # noqa: A002  the name under which users know it
        parent_id: str | None = None,
        tags: Iterable[str] = (),
        metadata: Any = None,
    ) -> Trace:
        """Record a trace and return it.

        Args:
            run: id of the run.
            kind: what happened, as for `record`.
            id: unique in the run; None generates a time-ordered one.
            parent_id: id of an existing trace of the same run; None records a root.
            tags: any strings; duplicates are dropped.
            metadata: a dict of storable values.

        Raises:
            TraceExistsError: the id is already used in the run.
            TraceNotFoundError: the run has no trace `parent_id`.
            InvalidKeyError, InvalidValueError, UsageError: an argument is invalid; nothing was recorded.

        Complexity: O(1) plus O(tags) index entries.
        """
        trace: Trace = self._client.ask(RecordTrace(run, kind, id, parent_id, tags, metadata))
        return trace

    def get(self, run: RunId, trace_id: str) -> Trace | None:
        """Return the trace with this id, or None if there is none. O(1)."""
        return self._read(run).get(trace_id)

    def query_by_type(
        self, run: RunId, trace_type: str | type[Kind], limit: int | None = None, after: str | None = None
    ) -> Traces:
        """Return the traces of one type, given by name or class. O(log n) plus O(1) per trace returned.

        Raises:
            UsageError: `trace_type` is not a trace type.
            TraceNotFoundError: the run has no trace `after`.
        """
        return self._read(run).query_by_type(trace_type, limit, after)

    def query_by_tag(self, run: RunId, tag: str, limit: int | None = None, after: str | None = None) -> Traces:
        """Return the traces that have exactly this tag. O(log n) plus O(1) per trace returned.

        Raises:
            TraceNotFoundError: the run has no trace `after`.
        """
        return self._read(run).query_by_tag(tag, limit, after)

    def query_by_time(self, run: RunId, start: int, end: int, limit: int | None = None) -> Traces:
        """Return the traces with start <= timestamp < end, in microseconds. O(log n) plus O(1) per trace returned."""
        return self._read(run).query_by_time(start, end, limit)

    def get_children(self, run: RunId, trace_id: str, limit: int | None = None, after: str | None = None) -> Traces:
        """Return the trace's children; empty if the trace does not exist. O(log n) plus O(1) per child.

        Raises:
            TraceNotFoundError: the run has no trace `after`.
        """
        return self._read(run).get_children(trace_id, limit, after)

    def get_tree(self, run: RunId, trace_id: str) -> TraceTree:
        """Return the trace with all its descendants, from one snapshot. O(log n) per trace returned.

        Raises:
            TraceNotFoundError: the run has no trace `trace_id`.
        """
        return self._read(run).get_tree(trace_id)

    def roots(self, run: RunId, limit: int | None = None, after: str | None = None) -> Traces:
        """Return the traces that have no parent. O(log n) plus O(1) per trace returned.

        Raises:
            TraceNotFoundError: the run has no trace `after`.
        """
        return self._read(run).roots(limit, after)

    def list(self, run: RunId, limit: int | None = None) -> Ids:
        """Return the ids of all traces. O(log n) plus O(1) per id returned."""
        return self._read(run).list(limit)

    def count(self, run: RunId) -> int:
        """Return the number of traces. O(1)."""
        return self._read(run).count()

    def _read(self, run: RunId) -> TraceOperations:
        return TraceOperations(self._client.reader(), normalize_run_id(run))


class TraceStoreFutures(Proxy):
    """The same operations, each returning a `pykka.Future` at once. Requests from one thread are processed in order."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._send = client.send

    def record(self, run: RunId, kind: Kind) -> pykka.Future[Trace]:
        """See `TraceStore.record`."""
        return self._send(RecordTrace(run, kind))

    def record_child(self, run: RunId, parent_id: str, kind: Kind) -> pykka.Future[Trace]:
        """See `TraceStore.record_child`."""
        require_parent(parent_id)
        return self._send(RecordTrace(run, kind, parent_id=parent_id))

    def record_with_options(
        self,
        run: RunId,
        kind: Kind,
        id: str | None = None,  # noqa: A002  the name under which users know it
        parent_id: str | None = None,
        tags: Iterable[str] = (),
        metadata: Any = None,
    ) -> pykka.Future[Trace]:
        """See `TraceStore.record_with_options`."""
        return self._send(RecordTrace(run, kind, id, parent_id, tags, metadata))

    def get(self, run: RunId, trace_id: str) -> pykka.Future[Trace | None]:
        """See `TraceStore.get`."""
        return self._send(GetTrace(run, trace_id))

    def query_by_type(
        self, run: RunId, trace_type: str | type[Kind], limit: int | None = None, after: str | None = None
    ) -> pykka.Future[Traces]:
        """See `TraceStore.query_by_type`."""
        return self._send(QueryTracesByType(run, trace_type, limit, after))

    def query_by_tag(
        self, run: RunId, tag: str, limit: int | None = None, after: str | None = None
    ) -> pykka.Future[Traces]:
        """See `TraceStore.query_by_tag`."""
        return self._send(QueryTracesByTag(run, tag, limit, after))

    def query_by_time(self, run: RunId, start: int, end: int, limit: int | None = None) -> pykka.Future[Traces]:
        """See `TraceStore.query_by_time`."""
        return self._send(QueryTracesByTime(run, start, end, limit))

    def get_children(
        self, run: RunId, trace_id: str, limit: int | None = None, after: str | None = None
    ) -> pykka.Future[Traces]:
        """See `TraceStore.get_children`."""
        return self._send(GetTraceChildren(run, trace_id, limit, after))

    def get_tree(self, run: RunId, trace_id: str) -> pykka.Future[TraceTree]:
        """See `TraceStore.get_tree`."""
        return self._send(GetTraceTree(run, trace_id))

    def roots(self, run: RunId, limit: int | None = None, after: str | None = None) -> pykka.Future[Traces]:
        """See `TraceStore.roots`."""
        return self._send(ListRootTraces(run, limit, after))

    def list(self, run: RunId, limit: int | None = None) -> pykka.Future[Ids]:
        """See `TraceStore.list`."""
        return self._send(ListTraces(run, limit))

    def count(self, run: RunId) -> pykka.Future[int]:
        """See `TraceStore.count`."""
        return self._send(CountTraces(run))
