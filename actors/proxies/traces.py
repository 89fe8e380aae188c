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

# Inside the classes, the name `list` is the method.
Ids: TypeAlias = list[str]
Traces: TypeAlias = list[Trace]


class TraceStore(Proxy):
    """The steps of an agent's reasoning, as a forest, found by type, tag, parent and time. Traces are never changed.

    Every query returns traces in the order of recording: with `limit`, an int, at most so many; with `after`, a trace's
    id, only those recorded behind that one, which raises TraceNotFoundError if there is none. Every call is a
    transaction of its own; reads look at the newest committed state. Errors that any call may raise are named at
    `Database`; an argument that is not acceptable raises InvalidKeyError, InvalidValueError or UsageError.

    Attributes:
        futures: the same operations, each returning a `pykka.Future`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.futures = TraceStoreFutures(client)

    def record(self, run: RunId, kind: Kind) -> Trace:
        """Record a root trace durably (see `durability`), under a fresh id, and return it.

        Args:
            run: id of the run.
            kind: a ToolCall, Decision, Query, Thought, ErrorTrace or Custom; copied.

        Raises:
            InvalidValueError: a field of it cannot be stored; nothing was recorded.
        """
        trace: Trace = self._client.ask(RecordTrace(run, kind))
        return trace

    def record_child(self, run: RunId, parent_id: str, kind: Kind) -> Trace:
        """Record a trace under `parent_id`, under a fresh id, and return it.

        Raises:
            TraceNotFoundError: the run has no trace `parent_id`.
            InvalidKeyError, InvalidValueError, UsageError: an argument is not acceptable; nothing was recorded.
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
            kind: what happened.
            id: unique in the run; None takes a fresh, time-ordered one.
            parent_id: an existing trace of the same run; None makes a root.
            tags: any strings; duplicates count once.
            metadata: a dict of anything that can be stored.

        Raises:
            TraceExistsError: the id is taken.
            TraceNotFoundError: the run has no trace `parent_id`.
            InvalidKeyError, InvalidValueError, UsageError: an argument is not acceptable; nothing was recorded.

        Complexity: O(1) plus O(tags) index entries.
        """
        trace: Trace = self._client.ask(RecordTrace(run, kind, id, parent_id, tags, metadata))
        return trace

    def get(self, run: RunId, trace_id: str) -> Trace | None:
        """Return the trace, or None if there is none with that id. O(1)."""
        return self._read(run).get(trace_id)

    def query_by_type(
        self, run: RunId, trace_type: str | type[Kind], limit: int | None = None, after: str | None = None
    ) -> Traces:
        """Return the traces of one type, given by name or class. O(log n) plus O(1) per trace returned.

        Raises:
            UsageError: there is no such type.
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
        """Return the traces directly below this one; none if it does not exist. O(log n) plus O(1) per child.

        Raises:
            TraceNotFoundError: the run has no trace `after`.
        """
        return self._read(run).get_children(trace_id, limit, after)

    def get_tree(self, run: RunId, trace_id: str) -> TraceTree:
        """Return the trace with everything below it, at any depth, from one snapshot. O(log n) per trace returned.

        Raises:
            TraceNotFoundError: there is no such trace.
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
        """Return how many traces there are. O(1)."""
        return self._read(run).count()

    def _read(self, run: RunId) -> TraceOperations:
        return TraceOperations(self._client.reader(), normalize_run_id(run))


class TraceStoreFutures(Proxy):
    """The same operations, each returning a `pykka.Future` at once. What one thread sends is done in that order."""

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
