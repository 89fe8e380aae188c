"""Which traces are spans again when a run is exported: what the exporter recorded, and nothing that looks like it."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import inmem
from inmem import Custom, ErrorTrace, Thought, ToolCall
from inmem.otlp import run_to_otlp
from inmem.otlp.spans import ERROR_OF
from inmem.primitives.traces import TraceOperations

SPAN_ID = "00000000000000ab"
RECORD = {
    "trace_id": "000000000000000000000000000000cd",
    "span_id": SPAN_ID,
    "name": "agent",
    "kind": 1,
    "start_time_unix_nano": 5,
    "end_time_unix_nano": 7,
    "attributes": {"x": [math.nan, {"y": b"z"}]},
    "events": [{"name": "e", "time_unix_nano": 6, "attributes": {"q": math.nan}}],
    "links": [{"trace_id": "1", "span_id": "2", "is_remote": True}],
    "status": {"code": 2, "message": "m"},
    "scope": {"name": "library"},
    "resource": {"attributes": {"service.name": "s"}},
}


def without(field):
    return {name: value for name, value in RECORD.items() if name != field}


def exported(*traces):
    """Return the spans of a run with these traces, each with the name of its scope."""
    with inmem.open(":memory:") as db:
        for kind, options in traces:
            db.traces.record_with_options("run", kind, **options)
        request = json.loads(json.dumps(run_to_otlp(db, "run")))
    return [
        (scope["scope"].get("name"), span)
        for resource in request["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


@pytest.mark.parametrize("duration_ms", [math.inf, 1e305, 1e300, 2**63 - 1])
def test_a_tool_call_that_took_longer_than_since_the_epoch(duration_ms):
    """None of its run could be exported."""
    [(_, span)] = exported((ToolCall("w", duration_ms=duration_ms), {}))
    assert span["startTimeUnixNano"] == "0" != span["endTimeUnixNano"]


def test_what_the_exporter_wrote_is_a_span_again():
    [(scope, span)] = exported((Custom("agent"), {"id": SPAN_ID, "metadata": {"otel": RECORD}}))
    assert (scope, span["spanId"], span["traceId"]) == ("library", SPAN_ID, RECORD["trace_id"])


@pytest.mark.parametrize(
    "metadata",
    [
        {"otel": {"trace_id": "a", "span_id": "b"}},
        {"otel": {"x": 1}},
        {"otel": {}},
        {"otel": [RECORD]},
        {"otel": {ERROR_OF: SPAN_ID}},
        {"otel": RECORD, "mine": 1},
        {"otel": RECORD | {"span_id": "00000000000000ac"}},
        {"otel": RECORD | {"trace_id": "cd"}},
        {"otel": RECORD | {"trace_id": RECORD["trace_id"] + "\n"}},
        {"otel": RECORD | {"more": 1}},
        {"otel": RECORD | {"name": None}},
        {"otel": RECORD | {"kind": True}},
        {"otel": RECORD | {"start_time_unix_nano": "5"}},
        {"otel": RECORD | {"attributes": [["x", 1]]}},
        {"otel": RECORD | {"events": [{"name": "e"}]}},
        {"otel": RECORD | {"links": [{"trace_id": "1"}]}},
        {"otel": RECORD | {"status": {"code": "2"}}},
        {"otel": RECORD | {"scope": {"attributes": 1}}},
        {"otel": RECORD | {"resource": 1}},
        *[{"otel": without(field)} for field in ("trace_id", "span_id", "name", "start_time_unix_nano")],
    ],
)
def test_whatever_else_is_called_otel_is_metadata_of_a_trace_of_the_users(metadata):
    [(scope, span)] = exported((Thought("hm"), {"id": SPAN_ID, "metadata": metadata}))
    assert (scope, span["name"]) == ("inmem", "think")
    assert "inmem.metadata" in [attribute["key"] for attribute in span["attributes"]]


texts = st.sampled_from([*RECORD, ERROR_OF, SPAN_ID, RECORD["trace_id"], "code", ""])
junk = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.floats() | texts | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


@given(changes=st.dictionaries(texts, junk, max_size=3), is_whole=st.booleans())
def test_no_trace_is_lost_whatever_its_metadata(changes, is_whole):
    metadata = {"otel": RECORD | changes if is_whole else changes}
    assert len(exported((Thought("hm"), {"id": SPAN_ID, "metadata": metadata}))) == 1


def test_an_error_below_a_span_is_left_out_only_if_the_exporter_recorded_it():
    span = (Custom("agent"), {"id": SPAN_ID, "metadata": {"otel": RECORD}})
    own = (Thought("hm"), {"id": "own", "parent_id": SPAN_ID})
    told = {"parent_id": SPAN_ID, "metadata": {"otel": {ERROR_OF: SPAN_ID}}}

    def names(*traces):
        return [each["name"] for _, each in exported(span, own, *traces)]

    assert names((ErrorTrace("E", "m"), told)) == ["agent", "think"]
    assert names((Thought("E"), told)) == ["agent", "think", "think"]
    assert names((ErrorTrace("E", "m"), told | {"metadata": {"otel": {ERROR_OF: "x"}}})) == ["agent", "think", "E"]
    assert names((ErrorTrace("E", "m"), told | {"parent_id": "own"})) == ["agent", "think", "E"]


def test_what_was_recorded_below_an_error_that_is_left_out_hangs_below_the_span():
    """It was torn out of its tree: it became a root of another trace."""
    of_error = {"otel": {ERROR_OF: "error"}}
    spans = exported(
        (Custom("agent"), {"id": SPAN_ID, "metadata": {"otel": RECORD}}),
        (ErrorTrace("E", "m"), {"id": "error", "parent_id": SPAN_ID, "metadata": {"otel": {ERROR_OF: SPAN_ID}}}),
        (Thought("why"), {"id": "child", "parent_id": "error"}),
        (Thought("so"), {"id": "grandchild", "parent_id": "child"}),
        # Nobody tells of this one: what it hangs below is no span.
        (ErrorTrace("F", "m"), {"parent_id": "error", "metadata": of_error}),
    )

    above = {span["spanId"]: span.get("parentSpanId") for _, span in spans}
    [agent, child, grandchild, other] = (
        span["spanId"] for name in ("agent", "think", "F") for _, span in spans if span["name"] == name
    )
    assert above == {agent: None, child: agent, grandchild: child, other: agent}
    assert {span["traceId"] for _, span in spans} == {RECORD["trace_id"]}


def test_nothing_is_exported_if_there_are_traces_that_no_tree_has(monkeypatch):
    with inmem.open(":memory:") as db:
        db.traces.record_with_options("run", Thought("hm"), id="p")
        db.traces.record_with_options("run", Thought("hm"), id="c", parent_id="p")
        monkeypatch.setattr(TraceOperations, "roots", lambda _self: [])
        with pytest.raises(inmem.StorageError, match=r"run 'run': 2 of its traces are below no root"):
            run_to_otlp(db, "run")
