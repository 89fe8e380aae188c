"""Spans that become traces, inside one transaction.

Spans arrive when they end, so children before their parents, while a trace can only be recorded below one that is
there. What cannot be recorded yet waits in the run `WAITING_RUN`, in the same database and under the same promises: a
killed process loses none of it. Each waiting span has a key of its own there, a number; keys are used again, so that
their tombstones are no more than spans have ever waited at one time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from immutables import Map

from inmem.engine.errors import InvalidKeyError, InvariantError, UsageError
from inmem.engine.keys import normalize_run_id
from inmem.engine.limits import USER_KEY_BYTES_MAX
from inmem.otlp.conventions import OPERATION, errors_of, kind_of, run_named_by
from inmem.otlp.fitting import stored
from inmem.otlp.resources import Resources
from inmem.otlp.spans import ERROR_OF, METADATA_KEY, SpanRecord, is_span, local_parent_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inmem import Transaction
    from inmem.actors.client.run_access import RunAccess

WAITING_RUN: Final = "opentelemetry.waiting"
"""Not registered, so no list of runs shows it; `inmem get DB opentelemetry.waiting` does."""

RUN_TAG: Final = "opentelemetry"

Homes: TypeAlias = "dict[str, tuple[str, ...]]"
"""By OpenTelemetry trace, the runs that its spans were recorded in; the first is that of its first topmost span."""

_RUNS_MAX: Final = 100
"""Runs of one OpenTelemetry trace that are remembered, in each of which the parent of a late span is looked for. Below
one request there are one or two; a trace that goes on through more than this has mostly left the first ones behind."""

_KEYS_MAX: Final = 2**62
"""More than any exporter could count to, and no more than a range can have in it."""

_KEY_DIGITS_MAX: Final = len(str(_KEYS_MAX)) - 1
"""All numbers of so many digits are keys; no exporter gets so far."""

_NONE: Final[Map[int, str]] = Map()

_Free: TypeAlias = "tuple[range, _Free | None]"
"""Unused keys, at least one in each range: those to be used next, and the rest. The last is all the greater ones."""


# Compared and shown by identity: there may be a hundred thousand keys in it.
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Waiting:
    """Which keys of `WAITING_RUN` hold spans, and which are unused. Immutable: what is made of it shares the rest.

    A root may be open for days while all its spans wait, each of which has come in a transaction: so whatever a
    transaction does to this takes no longer the more there is.

    Attributes:
        keys: by OpenTelemetry trace, those that hold spans of it, each with the span's id.
        free: those that hold none.
    """

    keys: Map[str, Map[int, str]]
    free: _Free

    @classmethod
    def read(cls, txn: Transaction) -> Waiting:
        """Return what waits in a database. O(n log n) of waiting spans."""
        found: dict[str, dict[int, str]] = {}
        for name, span in txn.on(WAITING_RUN).kv.list_with_values():
            key = int(name) if name.isdecimal() and len(name) <= _KEY_DIGITS_MAX else -1
            # Anybody can put something there, which is no reason not to record the rest.
            if str(key) == name and is_span(span):
                found.setdefault(span["trace_id"], {})[key] = span["span_id"]
        free: _Free | None = None
        end = _KEYS_MAX
        for used in sorted((key for keys in found.values() for key in keys), reverse=True):
            if used + 1 < end:
                free = range(used + 1, end), free
            end = used
        if end > 0 or free is None:
            free = range(end), free
        return cls(Map({trace_id: Map(keys) for trace_id, keys in found.items()}), free)

    def check(self) -> None:
        """Raise InvariantError unless every key is in one place. O(n log n).

        As all structures have it, for tests: nothing that a transaction does to this may take so long.
        """
        ranges = [range(key, key + 1) for keys in self.keys.values() for key in keys]
        free: _Free | None = self.free
        while free is not None:
            unused, free = free
            ranges.append(unused)
        ends = [(-1, 0), *sorted((each.start, each.stop) for each in ranges), (_KEYS_MAX, -1)]
        if any(before[1] != after[0] for before, after in pairwise(ends)):
            raise InvariantError("a key is both used and unused, or neither")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a span is to be recorded.

    Attributes:
        span: the span.
        parent_id: of the trace above it, if there is one in the same run.
        run_id: the run.
        key: under which it waits, if it does.
    """

    span: SpanRecord
    parent_id: str | None
    run_id: str
    key: int | None


class Recording:
    """One transaction's worth of spans.

    What is wrong with one span is the trouble of that span alone: it is recorded as far as it can be, or it is refused,
    and all others are recorded.

    Args:
        txn: the transaction.
        waiting: what waits, before it.
        homes: the runs in which each OpenTelemetry trace is, of those begun lately.
        default_run: the run of spans that name none; raises UsageError where there is none.

    Attributes:
        homes: the same, after the transaction.
        refused: why spans could be neither recorded nor kept waiting, by their ids. Those that waited already still do.
    """

    def __init__(
        self, txn: Transaction, waiting: Waiting, homes: Homes, default_run: Callable[[SpanRecord], str]
    ) -> None:
        self._txn = txn
        self._store = txn.on(WAITING_RUN).kv
        self._default_run = default_run
        self._waiting = waiting.keys
        self._free = waiting.free
        self._resources = Resources()
        self.homes = dict(homes)
        self.refused: dict[str, UsageError] = {}

    def take(self, spans: Iterable[SpanRecord]) -> None:
        """Record the spans that can be recorded, with those that waited for them; let the others wait."""
        by_trace: dict[str, list[SpanRecord]] = {}
        for span in spans:
            by_trace.setdefault(span["trace_id"], []).append(span)
        for trace_id, arrived in by_trace.items():
            if any(self._is_ready(span) for span in arrived):
                self._settle(trace_id, arrived)
            else:
                self._wait(trace_id, arrived)

    def take_waiting(self, trace_ids: Iterable[str]) -> None:
        """Record what waits of these OpenTelemetry traces; where a parent is missing it will not come any more."""
        for trace_id in trace_ids:
            self._settle(trace_id, [], is_last=True)

    def placements(self, trace_id: str, arrived: list[SpanRecord], *, is_last: bool = False) -> list[Placement]:
        """Return what can be recorded of a trace, of what waits and what has arrived, parents first. Writes nothing.

        What somebody else has deleted does not wait any more.

        Args:
            trace_id: the OpenTelemetry trace.
            arrived: spans of it that do not wait.
            is_last: where a parent is missing it will not come any more.

        Complexity: O(n log n) of the spans that wait or have arrived.
        """
        keys = self._waiting.get(trace_id, _NONE)
        spans: list[tuple[SpanRecord, int | None]] = []
        for key in sorted(keys):
            span = self._store.get(str(key))
            if is_span(span) and (span["trace_id"], span["span_id"]) == (trace_id, keys[key]):
                spans.append((span, key))
            else:
                self._release(trace_id, key)
        spans += [(span, None) for span in arrived]
        return self._placed(spans, is_last=is_last)

    def place(self, placements: Iterable[Placement]) -> None:
        """Record spans where they belong, and let them wait no more. Those that another has recorded are passed over.

        Args:
            placements: from this transaction or an earlier one, parents first.
        """
        for placement in placements:
            span, key = placement.span, placement.key
            trace_id, span_id = span["trace_id"], span["span_id"]
            # Between two transactions another thread may have recorded it, and its key may hold another span.
            if key is not None and self._waiting.get(trace_id, _NONE).get(key) != span_id:
                continue
            try:
                self._record(span, placement.parent_id, placement.run_id)
            except UsageError as error:
                self.refused[span_id] = error
                continue
            if key is not None:
                self._forget(trace_id, key)

    def left(self) -> Waiting:
        """Return what waits after this transaction."""
        return Waiting(self._waiting, self._free)

    def _is_ready(self, span: SpanRecord) -> bool:
        return local_parent_of(span) is None or self._run_above(span) is not None

    def _run_above(self, span: SpanRecord) -> str | None:
        """Return the run in which the span above is recorded; None if there is none above, or none that is known of."""
        parent_id = local_parent_of(span)
        if parent_id is None:
            return None
        own, runs = self._run_of(span), self.homes.get(span["trace_id"], ())
        # Whatever the span itself names, the one above may have named another run: a conversation below a request.
        for run in (own, *reversed(runs)) if own is not None and own not in runs else reversed(runs):
            if self._txn.on(run).traces.get(parent_id) is not None:
                return run
        return None

    def _remember(self, trace_id: str, run: str) -> None:
        """Note that spans of an OpenTelemetry trace are in the run: what ends later may belong below them."""
        runs = self.homes.get(trace_id, ())
        if run not in runs:
            # The first is the home of all that names nothing, so it is not what is forgotten.
            self.homes[trace_id] = (*runs[:1], *runs[1:][2 - _RUNS_MAX :], run)

    def _settle(self, trace_id: str, arrived: list[SpanRecord], *, is_last: bool = False) -> None:
        """Record what can be recorded of a trace, of what waits and what has arrived; let the others wait."""
        found = self.placements(trace_id, arrived, is_last=is_last)
        self.place(found)
        placed = {placement.span["span_id"] for placement in found} | self.refused.keys()
        self._wait(trace_id, [span for span in arrived if span["span_id"] not in placed])

    def _placed(self, spans: list[tuple[SpanRecord, int | None]], *, is_last: bool) -> list[Placement]:
        """Return the places of all spans, each with its key, that have a way up to one that is ready."""
        spans.sort(key=lambda each: each[0]["start_time_unix_nano"])
        present = {span["span_id"] for span, _ in spans}
        below: dict[str, list[tuple[SpanRecord, int | None]]] = {}
        tops: list[tuple[SpanRecord, int | None]] = []
        for span, key in spans:
            parent_id = local_parent_of(span)
            if parent_id is None or self._is_ready(span) or (is_last and parent_id not in present):
                tops.append((span, key))
            else:
                below.setdefault(parent_id, []).append((span, key))
        found: list[Placement] = []
        done: set[int] = set()
        if is_last:
            # What goes round in a circle is left, and what is below: the earliest of the circle is taken for the top.
            circles = _in_circles([span for span, _ in spans])
            tops += [each for each in spans if each[0]["span_id"] in circles]
        for top, top_key in tops:
            if id(top) in done:
                continue
            done.add(id(top))
            try:
                run = self._run_of(top) or self._run_above(top) or self._home_of(top)
                run = run or self._run_from_below(top, below)
            except UsageError as error:
                self.refused[top["span_id"]] = error
                done |= {id(span) for span in _all_below(top, below)}
                continue
            pending = [Placement(top, local_parent_of(top), run, top_key)]
            for placement in pending:
                found.append(placement)
                self._remember(top["trace_id"], placement.run_id)
                span_id, run_id = placement.span["span_id"], placement.run_id
                for child, key in below.pop(span_id, []):
                    if id(child) in done:
                        continue
                    done.add(id(child))
                    own_run = self._run_of(child) or run_id
                    # A trace has its parent in its own run; the span in its metadata still names the other one.
                    pending.append(Placement(child, span_id if own_run == run_id else None, own_run, key))
        return found

    def _home_of(self, span: SpanRecord) -> str | None:
        return next(iter(self.homes.get(span["trace_id"], ())), None)

    def _run_from_below(self, top: SpanRecord, below: dict[str, list[tuple[SpanRecord, int | None]]]) -> str:
        """Return the one run that the spans below name, as below a web server's, or the default."""
        named = {run for span in _all_below(top, below) if (run := self._run_of(span)) is not None}
        return named.pop() if len(named) == 1 else normalize_run_id(self._default_run(top))

    def _record(self, span: SpanRecord, parent_id: str | None, run_id: str) -> None:
        here = self._txn.on(run_id)
        if here.traces.get(span["span_id"]) is not None:
            return
        if parent_id is not None and here.traces.get(parent_id) is None:
            parent_id = None
        keeps_resource = not self._resources.is_inherited(here, span, parent_id)
        recorded = stored(span, lambda form: _write(here, form, parent_id, keeps_resource=keeps_resource))
        if keeps_resource:
            self._resources.note_kept(here, recorded)
        if here.runs.get_run(run_id) is None:
            here.runs.create_run(run_id, tags=[RUN_TAG])
        for number, error in enumerate(errors_of(recorded)):
            error_id = f"{span['span_id']}-{number}"
            # A trace of the application's may have that id: the error is told by the span's own record as well.
            if here.traces.get(error_id) is None:
                # Part of the span's own record: an export to OTLP leaves it out.
                metadata = {METADATA_KEY: {ERROR_OF: span["span_id"]}}
                here.traces.record_with_options(error, id=error_id, parent_id=span["span_id"], metadata=metadata)

    def _run_of(self, span: SpanRecord) -> str | None:
        try:
            named = run_named_by(span)
            return None if named is None else normalize_run_id(named)
        except InvalidKeyError:
            return None

    def _wait(self, trace_id: str, spans: list[SpanRecord]) -> None:
        for span in spans:
            unused, rest = self._free
            key = unused[0]
            try:
                stored(span, partial(self._store.put, str(key)))
            except UsageError as error:
                self.refused[span["span_id"]] = error
                continue
            # The last range has no end in practice, so there is a rest where one ends.
            self._free = (unused[1:], rest) if len(unused) > 1 else cast("_Free", rest)
            keys = self._waiting.get(trace_id, _NONE).set(key, span["span_id"])
            self._waiting = self._waiting.set(trace_id, keys)

    def _forget(self, trace_id: str, key: int) -> None:
        """Delete a span that waited."""
        self._store.delete(str(key))
        self._release(trace_id, key)

    def _release(self, trace_id: str, key: int) -> None:
        """Give the key of a span back that waits no more."""
        left = self._waiting[trace_id].delete(key)
        self._waiting = self._waiting.set(trace_id, left) if left else self._waiting.delete(trace_id)
        unused, rest = self._free
        if unused.stop == key:
            # Spans that have waited together mostly go together.
            self._free = range(unused.start, key + 1), rest
        else:
            self._free = range(key, key + 1), self._free


def _all_below(top: SpanRecord, below: dict[str, list[tuple[SpanRecord, int | None]]]) -> list[SpanRecord]:
    """Return the spans below one, each once, though they may go round in a circle."""
    found: list[SpanRecord] = []
    pending, seen = [top["span_id"]], {top["span_id"]}
    for span_id in pending:
        children = [child for child, _ in below.get(span_id, [])]
        found += children
        more = {child["span_id"]: None for child in children if child["span_id"] not in seen}
        pending += more
        seen |= more.keys()
    return found


def _in_circles(spans: list[SpanRecord]) -> set[str]:
    """Return the ids of the spans that are, by way of others, above themselves. O(len(spans))."""
    above = {span["span_id"]: local_parent_of(span) for span in spans}
    found: set[str] = set()
    seen: set[str] = set()
    for span_id in above:
        way: list[str] = []
        here: str | None = span_id
        while here is not None and here in above and here not in seen:
            seen.add(here)
            way.append(here)
            here = above[here]
        if here in way:
            found.update(way[way.index(here) :])
    return found


def _write(here: RunAccess, span: SpanRecord, parent_id: str | None, *, keeps_resource: bool) -> SpanRecord:
    """Record the trace of a span, or nothing if the span cannot be stored, and return the span."""
    kept = {name: value for name, value in span.items() if name != "resource"}
    if keeps_resource:
        # Also if it is empty, or that of the trace above would be taken for it.
        kept["resource"] = span.get("resource", {})
    operation: Any = span.get("attributes", {}).get(OPERATION)
    tags = [operation] if type(operation) is str and len(operation.encode()) <= USER_KEY_BYTES_MAX else []
    here.traces.record_with_options(
        kind_of(span), id=span["span_id"], parent_id=parent_id, tags=tags, metadata={METADATA_KEY: kept}
    )
    return span
