"""Export of a run's traces as OTLP JSON.

A trace that came from a span becomes exactly that span again. Any other trace becomes a span by the GenAI conventions.
Its ids are hashes of the run and the trace, so exporting twice gives the same spans. It ends when it was recorded. It
begins earlier by the duration of its tool call, if any, and encloses the spans made from the traces below it.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import inmem
from inmem.handle import plain_handle
from inmem.otlp.conventions import (
    CONVERSATION_ID,
    EXCEPTION_EVENT,
    EXCEPTION_MESSAGE,
    EXCEPTION_TYPE,
    RUN_ID,
    attributes_of,
    name_of,
)
from inmem.otlp.spans import (
    ERROR_OF,
    KIND_CLIENT,
    KIND_INTERNAL,
    METADATA_KEY,
    STATUS_ERROR,
    ScopeRecord,
    SpanRecord,
    span_kept_by,
    spans_to_otlp,
)
from inmem.primitives.orphans import whole_forest
from inmem.primitives.trace_kinds import ErrorTrace, Query, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from inmem import Database, Trace, Transaction

_TRACE_ID_DIGITS = 32
_SPAN_ID_DIGITS = 16


def run_to_otlp(db: Database, run: str | UUID, *, service_name: str = "inmem") -> dict[str, Any]:
    """Return all traces of a run, from one snapshot, as the OTLP JSON of one ExportTraceServiceRequest.

    Its `json.dumps` is the body of a request to an OTLP/HTTP endpoint, at ``/v1/traces`` as ``application/json``, and a
    line of an OTLP file.

    Args:
        db: the database.
        run: the run, registered or not; a run without traces gives a request without spans.
        service_name: the service name in the resource of traces that did not come from spans.

    Raises:
        UsageError: `db` is not an `inmem.Database`, or `service_name` is not a str.
        StorageError: traces have lost their parent, so they are in no tree; `Database.verify` names them.

    Complexity: O(traces), in time and in memory.
    """
    if not isinstance(service_name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise inmem.UsageError(f"service_name: must be a str, not {type(service_name).__name__}")
    with plain_handle(db, "db").begin(run) as txn:
        return spans_to_otlp(list(_spans(txn, {"attributes": {"service.name": service_name}})))


def _spans(txn: Transaction, own_resource: ScopeRecord) -> Iterator[tuple[SpanRecord, ScopeRecord]]:
    for tree in whole_forest(txn.traces, txn.run_id):
        made: dict[str, tuple[SpanRecord, ScopeRecord]] = {}
        native: dict[str, Trace] = {}
        told_by: dict[str, tuple[SpanRecord, ScopeRecord]] = {}
        for _, trace in tree.walk():
            parent = trace.parent_id
            above = None if parent is None else made.get(parent) or told_by.get(parent)
            span = span_kept_by(trace)
            if span is not None:
                inherited: ScopeRecord = {} if above is None else above[1]
                made[trace.id] = span, span.get("resource", inherited)
            elif above and parent in made and parent not in native and _is_told_by_the_span_above(trace):
                # Leave the error trace out and attach the traces below it to the span.
                told_by[trace.id] = above
            else:
                made[trace.id] = _made_up(txn.run_id, trace, above, own_resource)
                native[trace.id] = trace
        _enclose(native, made)
        yield from made.values()


def _is_told_by_the_span_above(trace: Trace) -> bool:
    """Return whether the exporter recorded this trace for an error that the span's own record contains."""
    return isinstance(trace.kind, ErrorTrace) and trace.metadata == {METADATA_KEY: {ERROR_OF: trace.parent_id}}


def _made_up(
    run_id: str, trace: Trace, above: tuple[SpanRecord, ScopeRecord] | None, own_resource: ScopeRecord
) -> tuple[SpanRecord, ScopeRecord]:
    end = trace.timestamp * 1000
    kind = trace.kind
    # The duration may be any number >= 0, even infinity: a start before the epoch becomes the epoch.
    duration_ms = kind.duration_ms if isinstance(kind, ToolCall) and kind.duration_ms is not None else 0
    attributes = {RUN_ID: run_id, CONVERSATION_ID: run_id, **attributes_of(kind)}
    if trace.tags:
        attributes["inmem.tags"] = [*trace.tags]
    if trace.metadata:
        attributes["inmem.metadata"] = trace.metadata
    span: SpanRecord = {
        "trace_id": _digits(_TRACE_ID_DIGITS, run_id, trace.id) if above is None else above[0]["trace_id"],
        "span_id": _digits(_SPAN_ID_DIGITS, run_id, trace.id),
        "name": name_of(kind),
        "kind": KIND_CLIENT if isinstance(kind, Query) else KIND_INTERNAL,
        "start_time_unix_nano": end - round(min(duration_ms * 1e6, end)),
        "end_time_unix_nano": end,
        "attributes": attributes,
        "scope": {"name": "inmem", "version": inmem.__version__},
    }
    if above is not None:
        span["parent_span_id"] = above[0]["span_id"]
    if isinstance(kind, ErrorTrace):
        told = {EXCEPTION_TYPE: kind.error_type, EXCEPTION_MESSAGE: kind.message}
        span["events"] = [{"name": EXCEPTION_EVENT, "time_unix_nano": end, "attributes": told}]
        span["status"] = {"code": STATUS_ERROR, "message": kind.message}
    return span, own_resource if above is None else above[1]


def _enclose(native: dict[str, Trace], made: dict[str, tuple[SpanRecord, ScopeRecord]]) -> None:
    """Extend every native span to enclose the native spans below it. `native` lists parents before children."""
    for trace in reversed(native.values()):
        if trace.parent_id in native:
            span, above = made[trace.id][0], made[trace.parent_id][0]
            above["start_time_unix_nano"] = min(above["start_time_unix_nano"], span["start_time_unix_nano"])
            above["end_time_unix_nano"] = max(above["end_time_unix_nano"], span["end_time_unix_nano"])


def _digits(count: int, run_id: str, trace_id: str) -> str:
    """Return `count` hexadecimal digits of a hash of the trace's id, the same every time."""
    return sha256(f"{len(run_id)}:{run_id}{trace_id}".encode()).hexdigest()[:count]
