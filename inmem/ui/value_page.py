"""A whole value as plain text, whatever its size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from inmem.actors.options import MEMORY
from inmem.ui.key_history import value_at
from inmem.ui.values import literal

if TYPE_CHECKING:
    from starlette.responses import Response

    from inmem import Transaction
    from inmem.ui.desk import Look


def show_value(look: Look) -> Response:
    """Send an event's payload, a trace's field or metadata, a current or past cell or key, or a run's metadata."""
    run = look.required("run")
    at = look.number("at")
    if at is not None:
        value = _value_then(look, run, at)
    else:
        with look.snapshot(run) as txn:
            value = _value_now(look, txn)
    return StreamingResponse(literal(value), media_type="text/plain; charset=utf-8")


def _value_now(look: Look, txn: Transaction) -> Any:
    if (sequence := look.number("event")) is not None:
        event = txn.events.read(sequence)
        if event is not None:
            return event.payload
    elif (trace_id := look.given("trace")) is not None:
        trace = txn.traces.get(trace_id)
        field = look.text("field")
        if trace is not None and field is None:
            return trace.metadata
        if trace is not None and field in type(trace.kind).__dataclass_fields__:
            return getattr(trace.kind, field)
    elif (name := look.given("cell")) is not None:
        state = txn.cells.read(name)
        if state is not None:
            return state.value
    elif (name := look.given("key")) is not None:
        found = txn.kv.get_versioned(name)
        if found is not None:
            return found.value
    else:
        known = txn.runs.get_run(txn.run_id)
        if known is not None:
            return known.metadata
    raise HTTPException(404, f"run {txn.run_id!r} has no such value")


def _value_then(look: Look, run: str, version: int) -> Any:
    """Return the value that a commit gave to a cell or key, read from the log, as a history keeps no whole values."""
    kind = "key" if look.given("cell") is None else "cell"
    name = look.required(kind)
    path = look.database.path
    found = None if path == MEMORY else value_at(path, run, kind, name, version)
    if found is None:
        raise HTTPException(404, f"the log does not hold a value that {kind} {name!r} was given at version {version}")
    return found[0]
