"""Spans as plain values, stored under ``otel`` in the metadata of their traces, and as OTLP JSON.

OTLP JSON is the JSON mapping of the OTLP protocol buffers with two exceptions: names are in lowerCamelCase, and trace
and span ids are hexadecimal. 64-bit integers are strings.
Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import math
from base64 import b64encode
from typing import TYPE_CHECKING, Annotated, Any, Final, Required, TypedDict, cast

from msgspec import Meta, ValidationError, convert

if TYPE_CHECKING:
    from inmem import Trace

METADATA_KEY: Final = "otel"
ERROR_OF: Final = "error_of"
"""Stored under METADATA_KEY in place of a span: the trace is an error of the span with this id and is in its record."""

STATUS_ERROR: Final = 2
KIND_INTERNAL: Final = 1
KIND_CLIENT: Final = 3
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200


class EventRecord(TypedDict, total=False):
    """An event that happened during a span."""

    name: Required[str]
    time_unix_nano: Required[int]
    attributes: dict[str, Any]
    dropped_attributes_count: int


class LinkRecord(TypedDict, total=False):
    """A link to a related span."""

    trace_id: Required[str]
    span_id: Required[str]
    is_remote: bool
    attributes: dict[str, Any]
    dropped_attributes_count: int


class StatusRecord(TypedDict, total=False):
    """How a span ended: 0 unset, 1 ok, 2 error."""

    code: int
    message: str


class ScopeRecord(TypedDict, total=False):
    """The instrumentation scope or the resource of a span."""

    name: str
    version: str
    attributes: dict[str, Any]
    schema_url: str


class SpanRecord(TypedDict, total=False):
    """A span. Empty fields may be missing; ids are hexadecimal, times nanoseconds since the epoch, kinds OTLP's."""

    trace_id: Required[Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]]
    span_id: Required[Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]]
    parent_span_id: str
    is_parent_remote: bool
    trace_state: str
    name: Required[str]
    kind: int
    start_time_unix_nano: Required[int]
    end_time_unix_nano: Required[int]
    attributes: dict[str, Any]
    dropped_attributes_count: int
    events: list[EventRecord]
    dropped_events_count: int
    links: list[LinkRecord]
    dropped_links_count: int
    status: StatusRecord
    scope: ScopeRecord
    resource: ScopeRecord
    refused: str
    """Why some attributes, events, links or other parts could not be kept."""


def span_of(value: object) -> SpanRecord | None:
    """Return `value` if it is a complete span record without other fields, else None. O(events and links)."""
    try:
        record = convert(value, SpanRecord)
    except ValidationError:
        return None
    # The conversion drops unknown fields, so with any of them the two differ.
    return record if record == value else None


def is_span(value: Any) -> bool:
    """Return whether a value has the fields needed to record it as a span. O(1)."""
    if not isinstance(value, dict):
        return False
    texts, times = ("trace_id", "span_id", "name"), ("start_time_unix_nano", "end_time_unix_nano")
    found = cast("dict[str, Any]", value)
    return all(isinstance(found.get(text), str) for text in texts) and all(
        isinstance(found.get(time), int) for time in times
    )


def span_kept_by(trace: Trace) -> SpanRecord | None:
    """Return the span that the exporter recorded as this trace, if any. Users may also have metadata named `otel`."""
    span = span_of(trace.metadata.get(METADATA_KEY))
    return span if span is not None and span["span_id"] == trace.id and len(trace.metadata) == 1 else None


def local_parent_of(span: SpanRecord) -> str | None:
    """Return the id of the parent span in the same process, or None."""
    return None if span.get("is_parent_remote", False) else span.get("parent_span_id")


def spans_to_otlp(spans: list[tuple[SpanRecord, ScopeRecord]]) -> dict[str, Any]:
    """Return (span, resource) pairs as the JSON of one ExportTraceServiceRequest, grouped by resource and scope."""
    resources: dict[str, dict[str, Any]] = {}
    scopes: dict[tuple[str, str], dict[str, Any]] = {}
    for span, resource in spans:
        scope = span.get("scope", {})
        # Attributes keep the order in which they were set, so equal descriptions have equal reprs.
        group, subgroup = repr(resource), (repr(resource), repr(scope))
        if group not in resources:
            resources[group] = {
                "resource": {"attributes": _attributes(resource)},
                "scopeSpans": [],
                **_given(schemaUrl=resource.get("schema_url")),
            }
        if subgroup not in scopes:
            described = _given(name=scope.get("name"), version=scope.get("version"), attributes=_attributes(scope))
            scopes[subgroup] = {"scope": described, "spans": [], **_given(schemaUrl=scope.get("schema_url"))}
            resources[group]["scopeSpans"].append(scopes[subgroup])
        scopes[subgroup]["spans"].append(_span(span))
    return {"resourceSpans": list(resources.values())}


def _span(span: SpanRecord) -> dict[str, Any]:
    status = span.get("status", {})
    return {
        "traceId": span["trace_id"],
        "spanId": span["span_id"],
        **_given(traceState=span.get("trace_state"), parentSpanId=span.get("parent_span_id")),
        "flags": _flags(is_remote=span.get("is_parent_remote", False)),
        "name": span["name"],
        "kind": span.get("kind", 0),
        "startTimeUnixNano": str(span["start_time_unix_nano"]),
        "endTimeUnixNano": str(span["end_time_unix_nano"]),
        **_given(
            attributes=_attributes(span),
            droppedAttributesCount=span.get("dropped_attributes_count"),
            events=[
                {
                    "timeUnixNano": str(event["time_unix_nano"]),
                    "name": event["name"],
                    **_given(
                        attributes=_attributes(event), droppedAttributesCount=event.get("dropped_attributes_count")
                    ),
                }
                for event in span.get("events", [])
            ],
            droppedEventsCount=span.get("dropped_events_count"),
            links=[
                {
                    "traceId": link["trace_id"],
                    "spanId": link["span_id"],
                    "flags": _flags(is_remote=link.get("is_remote", False)),
                    **_given(attributes=_attributes(link), droppedAttributesCount=link.get("dropped_attributes_count")),
                }
                for link in span.get("links", [])
            ],
            droppedLinksCount=span.get("dropped_links_count"),
        ),
        "status": _given(code=status.get("code"), message=status.get("message")),
    }


def _flags(*, is_remote: bool) -> int:
    return _HAS_IS_REMOTE | (_IS_REMOTE if is_remote else 0)


def _given(**facts: Any) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact}


def _attributes(described: Any) -> list[dict[str, Any]]:
    return [{"key": key, "value": _any_value(value)} for key, value in described.get("attributes", {}).items()]


def _any_value(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {}
        case bool():
            return {"boolValue": value}
        case str():
            return {"stringValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else _NOT_FINITE[str(value)]}
        case bytes():
            return {"bytesValue": b64encode(value).decode()}
        case list() | tuple():
            parts: list[Any] = [*value]
            return {"arrayValue": {"values": [_any_value(part) for part in parts]}}
        case _:
            items = [{"key": key, "value": _any_value(part)} for key, part in value.items()]
            return {"kvlistValue": {"values": items}}


_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
