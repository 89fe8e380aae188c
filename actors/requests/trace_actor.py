"""The TraceStore actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from inmem.actors.requests.primitive_actor import PrimitiveActor
from inmem.engine.errors import InvariantError
from inmem.primitives.traces import TraceOperations

if TYPE_CHECKING:
    from inmem.engine.commits.transaction import Transaction


class TraceActor(PrimitiveActor):
    """Carries out TraceStore requests. The parent that a trace names may be recorded in the same commit."""

    HANDLES = (
        RecordTrace,
        GetTrace,
        QueryTracesByType,
        QueryTracesByTag,
        QueryTracesByTime,
        GetTraceChildren,
        GetTraceTree,
        ListRootTraces,
        ListTraces,
        CountTraces,
    )

    def perform(self, txn: Transaction, message: Any) -> Any:
        """Carry out one request."""
        traces = TraceOperations(txn, message.run)
        match message:
            case RecordTrace(_, kind, trace_id, parent_id, tags, metadata):
                return traces.record_with_options(kind, id=trace_id, parent_id=parent_id, tags=tags, metadata=metadata)
            case GetTrace(_, trace_id):
                return traces.get(trace_id)
            case QueryTracesByType(_, trace_type, limit, after):
                return traces.query_by_type(trace_type, limit, after)
            case QueryTracesByTag(_, tag, limit, after):
                return traces.query_by_tag(tag, limit, after)
            case QueryTracesByTime(_, start, end, limit):
                return traces.query_by_time(start, end, limit)
            case GetTraceChildren(_, trace_id, limit, after):
                return traces.get_children(trace_id, limit, after)
            case GetTraceTree(_, trace_id):
                return traces.get_tree(trace_id)
            case ListRootTraces(_, limit, after):
                return traces.roots(limit, after)
            case ListTraces(_, limit):
                return traces.list(limit)
            case CountTraces():
                return traces.count()
            case _:
                raise InvariantError(f"the TraceStore cannot handle {type(message).__name__}")
