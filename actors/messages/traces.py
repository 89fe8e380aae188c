"""Requests to the TraceStore actor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from inmem.actors.messages import edge
from inmem.actors.messages.request import Request
from inmem.engine.keys import normalize_run_id
from inmem.primitives.labels import checked_tags
from inmem.primitives.trace_kinds import Kind, PackedKind, trace_type_of

_AFTER = edge.optional(edge.name("after"))


class RecordTrace(Request, frozen=True):
    """Record a trace. The reply is the Trace. Without `id` it gets a fresh one; without `parent_id` it is a root."""

    run: str | UUID
    kind: Kind | PackedKind
    id: str | None = None
    parent_id: str | None = None
    tags: Iterable[str] = ()
    metadata: Any = None

    EDGE: ClassVar = {
        "run": normalize_run_id,
        "kind": edge.kind,
        "id": edge.optional(edge.name("trace id")),
        "parent_id": edge.optional(edge.name("parent id")),
        "tags": checked_tags,
        "metadata": edge.new_metadata,
    }
    UNSHOWN: ClassVar = ("kind",)


class GetTrace(Request, frozen=True):
    """Read a trace. The reply is the Trace, or None."""

    run: str | UUID
    trace_id: str

    EDGE: ClassVar = {"run": normalize_run_id, "trace_id": edge.name("trace id")}


class QueryTracesByType(Request, frozen=True):
    """Find traces by type, given by name or class. The reply is the list of Traces."""

    run: str | UUID
    trace_type: str | type[Kind]
    limit: int | None = None
    after: str | None = None

    EDGE: ClassVar = {"run": normalize_run_id, "trace_type": trace_type_of, "limit": edge.limit, "after": _AFTER}


class QueryTracesByTag(Request, frozen=True):
    """Find traces by tag. The reply is the list of Traces."""

    run: str | UUID
    tag: str
    limit: int | None = None
    after: str | None = None

    EDGE: ClassVar = {"run": normalize_run_id, "tag": edge.name("tag"), "limit": edge.limit, "after": _AFTER}


class QueryTracesByTime(Request, frozen=True):
    """Find traces with start <= timestamp < end, in microseconds since the epoch. The reply is the list of Traces."""

    run: str | UUID
    start: int
    end: int
    limit: int | None = None

    EDGE: ClassVar = {
        "run": normalize_run_id,
        "start": edge.time_us("start"),
        "end": edge.time_us("end"),
        "limit": edge.limit,
    }


class GetTraceChildren(Request, frozen=True):
    """Read the children of a trace. The reply is the list of Traces."""

    run: str | UUID
    trace_id: str
    limit: int | None = None
    after: str | None = None

    EDGE: ClassVar = {"run": normalize_run_id, "trace_id": edge.name("trace id"), "limit": edge.limit, "after": _AFTER}


class GetTraceTree(Request, frozen=True):
    """Read a trace with all its descendants. The reply is the TraceTree, or a TraceNotFoundError."""

    run: str | UUID
    trace_id: str

    EDGE: ClassVar = {"run": normalize_run_id, "trace_id": edge.name("trace id")}


class ListRootTraces(Request, frozen=True):
    """Read the traces that have no parent. The reply is the list of Traces."""

    run: str | UUID
    limit: int | None = None
    after: str | None = None

    EDGE: ClassVar = {"run": normalize_run_id, "limit": edge.limit, "after": _AFTER}


class ListTraces(Request, frozen=True):
    """List the run's traces. The reply is the list of their ids."""

    run: str | UUID
    limit: int | None = None

    EDGE: ClassVar = {"run": normalize_run_id, "limit": edge.limit}


class CountTraces(Request, frozen=True):
    """Count the run's traces. The reply is their number."""

    run: str | UUID
