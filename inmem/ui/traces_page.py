"""A run's traces, a page at a time: all as a tree, or those of one type or tag as a list."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException

from inmem import Custom, Decision, ErrorTrace, Query, Thought, ToolCall, TraceNotFoundError
from inmem.primitives.trace_kinds import KINDS
from inmem.ui.desk import link, shown_value
from inmem.ui.run_facts import facts_of
from inmem.ui.trace_walk import Place, Row, walk_page
from inmem.ui.values import name, one_line, preview, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markupsafe import Markup
    from starlette.responses import Response

    from inmem import Trace, Transaction
    from inmem.ui.desk import Look
    from inmem.ui.run_facts import RunFacts

PAGE_ROWS: Final = 200
"""Traces on a page: a few screens."""

INDENTS_MAX: Final = 16
"""Deeper levels are not indented further; a number shows their depth."""

_NAME_CHARS: Final = 100
_TEXT_CHARS: Final = 300
_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """The summary of a trace on one line. It does not keep the trace: a page holds one large trace at a time.

    Attributes:
        trace_id: the id of the trace.
        trace_type: its type.
        timestamp: the time when it was recorded.
        duration_us: the duration of a tool call, or None.
        is_error: whether it is an error.
        name: its subject.
        detail: more about its subject.
        outcome: its outcome, or None.
    """

    trace_id: str
    trace_type: str
    timestamp: int
    duration_us: float | None
    is_error: bool
    name: Markup
    detail: Markup
    outcome: Markup | None


@dataclass(frozen=True, slots=True)
class TraceRow:
    """A row of the page.

    Attributes:
        line: the summary of the trace.
        depth: its depth in the tree.
        has_children: whether the row can be collapsed; None if unknown.
        offset_us: the time since the start of the run.
        share: its duration in percent of the longest on the page.
    """

    line: Line
    depth: int
    has_children: bool | None
    offset_us: int
    share: float

    @property
    def indent(self) -> int:
        """The row's level of indentation."""
        return min(self.depth, INDENTS_MAX)


def show_traces(look: Look) -> Response:
    """Show a page of a run's traces."""
    run, trace_type, tag = look.required("run"), look.text("type"), look.given("tag")
    if trace_type not in (None, *KINDS):
        raise HTTPException(400, "there is no such type")
    with look.snapshot(run) as txn:
        facts = facts_of(txn)
        if trace_type is None and tag is None:
            rows, more = _tree(look, txn)
        else:
            rows, more = _list(look, txn, trace_type, tag)
        shown = _rows(rows, facts)
    return look.render(
        "traces.html",
        run=facts,
        tab="traces",
        rows=shown,
        types=list(KINDS),
        trace_type=trace_type,
        tag=tag,
        is_tree=trace_type is None and tag is None,
        more=more,
    )


def show_trace(look: Look) -> Response:
    """Show one whole trace."""
    run, trace_id = look.required("run"), look.required("id")
    with look.snapshot(run) as txn:
        facts = facts_of(txn)
        trace = txn.traces.get(trace_id)
    if trace is None:
        raise TraceNotFoundError(trace_id, run)
    [row] = _rows([_alone(trace)], facts)
    shown = {
        field.name: shown_value(
            getattr(trace.kind, field.name), link("value", run=run, trace=trace_id, field=field.name)
        )
        for field in fields(trace.kind)
    }
    metadata = shown_value(trace.metadata, link("value", run=run, trace=trace_id))
    return look.render(
        "trace.html", part=look.is_part, run=facts, tab="traces", row=row, trace=trace, fields=shown, metadata=metadata
    )


def _tree(look: Look, txn: Transaction) -> tuple[list[Row[Line]], str | None]:
    after = look.given("after") if look.number("depth") is not None else None
    place = None if after is None else Place(after, look.number("depth") or 0, look.text("past") is not None)
    rows, place = walk_page(txn.traces, place, PAGE_ROWS, _line)
    if place is None:
        return rows, None
    past = "1" if place.is_past else None
    return rows, link("traces", run=txn.run_id, after=place.trace_id, depth=place.depth, past=past)


def _list(look: Look, txn: Transaction, trace_type: str | None, tag: str | None) -> tuple[list[Row[Line]], str | None]:
    # Reads one trace more than is shown, to know whether there are more.
    found = islice(_listed(txn, trace_type, tag or "", look.given("after")), PAGE_ROWS + 1)
    rows = [_alone(trace) for trace in found]
    if len(rows) <= PAGE_ROWS:
        return rows, None
    rows.pop()
    return rows, link("traces", run=txn.run_id, type=trace_type, tag=tag, after=rows[-1].trace_id)


def _listed(txn: Transaction, trace_type: str | None, tag: str, after: str | None) -> Iterator[Trace]:
    """Yield the traces of a type, or with a tag, after `after`, each read only when requested."""
    while True:
        if trace_type is not None:
            found = txn.traces.query_by_type(trace_type, 1, after)
        else:
            found = txn.traces.query_by_tag(tag, 1, after)
        if not found:
            return
        yield found[0]
        after = found[0].id


def _alone(trace: Trace) -> Row[Line]:
    return Row(0, trace.id, _line(trace), None)


def _line(trace: Trace) -> Line:
    is_error = isinstance(trace.kind, ErrorTrace)
    return Line(trace.id, trace.trace_type, trace.timestamp, _duration_us(trace), is_error, *_label(trace))


def _duration_us(trace: Trace) -> float | None:
    if isinstance(trace.kind, ToolCall) and trace.kind.duration_ms is not None:
        return trace.kind.duration_ms * _MS
    return None


def _rows(rows: list[Row[Line]], run: RunFacts) -> list[TraceRow]:
    durations = [row.kept.duration_us for row in rows]
    longest = max([each for each in durations if each is not None and each < inf], default=0)
    return [_row(row, run, longest) for row in rows]


def _row(row: Row[Line], run: RunFacts, longest_us: float) -> TraceRow:
    line = row.kept
    offset_us = line.timestamp - (line.timestamp if run.start_us is None else run.start_us)
    share = min(100 * line.duration_us / longest_us, 100) if line.duration_us and longest_us else 0.0
    return TraceRow(line, row.depth, row.has_children, offset_us, round(share, 1))


def _label(trace: Trace) -> tuple[Markup, Markup, Markup | None]:
    """Return name, detail and outcome of a trace, each on one line."""
    match trace.kind:
        case ToolCall(tool_name, arguments, result, _):
            return name(tool_name, _NAME_CHARS), _optional(arguments), None if result is None else preview(result)
        case Decision(question, options, chosen, reasoning):
            because = options if reasoning is None else reasoning
            return one_line(question, _TEXT_CHARS), preview(because), preview(chosen)
        case Query(query_type, query, results_count):
            found = None if results_count is None else visible(f"{results_count:,} found")
            return name(query_type, _NAME_CHARS), preview(query), found
        case Thought(content, confidence):
            sure = None if confidence is None else visible(f"confidence {confidence}")
            return visible(""), one_line(content, _TEXT_CHARS), sure
        case ErrorTrace(error_type, message, recoverable):
            outcome = visible("recoverable" if recoverable else "not recoverable")
            return name(error_type, _NAME_CHARS), one_line(message, _TEXT_CHARS), outcome
        case Custom(custom_name, data):
            return name(custom_name, _NAME_CHARS), _optional(data), None


def _optional(value: Any) -> Markup:
    return visible("") if value is None else preview(value)
