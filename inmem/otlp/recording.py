"""Recording of spans as traces, inside one transaction.

Spans arrive when they end, children before their parents, but a trace can only be recorded below an existing trace. A
span that cannot be recorded yet waits in the run `WAITING_RUN` of the same database, with the same guarantees: a killed
process loses none of them. Each waiting span has its own numeric key there. Keys are reused, so there are never more
tombstones than the largest number of spans that ever waited at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from inmem.engine.errors import InvalidKeyError, InvariantError, UsageError
from inmem.engine.keys import normalize_run_id
from inmem.engine.limits import USER_KEY_BYTES_MAX
from inmem.engine.tables.persistent_map import PersistentDict, persistent
from inmem.otlp.conventions import OPERATION, errors_of, kind_of, run_named_by
from inmem.otlp.fitting import store_fitted
from inmem.otlp.resources import Resources
from inmem.otlp.spans import ERROR_OF, METADATA_KEY, SpanRecord, is_span, local_parent_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inmem import Transaction
    from inmem.actors.client.run_access import RunAccess

WAITING_RUN: Final = "opentelemetry.waiting"
"""The run is not registered, so no list of runs shows it; `inmem get DB opentelemetry.waiting` does."""

RUN_TAG: Final = "opentelemetry"

Homes: TypeAlias = "dict[str, tuple[str, ...]]"
"""The runs of an OpenTelemetry trace's recorded spans, by trace; the first is that of its first topmost span."""

_RUNS_MAX: Final = 100
"""Runs remembered per OpenTelemetry trace; the parent of a late span is looked up in each. One request has one or two
runs; a trace with more than this many has usually left the first ones behind."""

_KEYS_MAX: Final = 2**62
"""More keys than any exporter can use, and not more than a range can hold."""

_KEY_DIGITS_MAX: Final = len(str(_KEYS_MAX)) - 1
"""All numbers with up to this many digits are valid keys; no exporter uses more."""

_Free: TypeAlias = "tuple[range, _Free | None]"
"""Unused keys as a linked list of non-empty ranges, the next to use first. The last range holds all greater keys."""


# Compared and shown by identity, as it may hold a hundred thousand keys.
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Waiting:
    """The used and unused keys of `WAITING_RUN`. Immutable: a new version shares the unchanged parts.

    A root may stay open for days while all its spans wait, and each span may arrive in its own transaction. So the time
    a transaction takes to update this does not grow with the number of waiting spans.

    Attributes:
        keys: the keys that hold spans, each with the span's id, by OpenTelemetry trace.
        free: the unused keys.
    """

    keys: PersistentDict[str, PersistentDict[int, str]]
    free: _Free

    @classmethod
    def read(cls, txn: Transaction) -> Waiting:
        """Return the waiting spans of a database. O(n log n) of waiting spans."""
        found: dict[str, dict[int, str]] = {}
        for name, span in txn.on(WAITING_RUN).kv.list_with_values():
            key = int(name) if name.isdecimal() and len(name) <= _KEY_DIGITS_MAX else -1
            # Users may put other values into this run; ignore them.
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
        return cls(persistent({trace_id: persistent(keys) for trace_id, keys in found.items()}), free)

    def as_dict(self) -> dict[str, dict[int, str]]:
        """Return the keys in use, each with the span's id, by OpenTelemetry trace. O(n) of waiting spans."""
        return {trace_id: keys.as_dict() for trace_id, keys in self.keys.as_dict().items()}

    def check(self) -> None:
        """Raise InvariantError unless every key is either used or unused. O(n log n).

        For tests: too slow to run in every transaction.
        """
        ranges = [range(key, key + 1) for keys in self.as_dict().values() for key in keys]
        free: _Free | None = self.free
        while free is not None:
            unused, free = free
            ranges.append(unused)
        ends = [(-1, 0), *sorted((each.start, each.stop) for each in ranges), (_KEYS_MAX, -1)]
        if any(before[1] != after[0] for before, after in pairwise(ends)):
            raise InvariantError("a key is both used and unused, or neither")


@dataclass(frozen=True, slots=True)
class Placement:
    """The place where a span is to be recorded.

    Attributes:
        span: the span.
        parent_id: the id of its parent trace, if that is in the same run.
        run_id: the run.
        key: the key under which the span waits, if it does.
    """

    span: SpanRecord
    parent_id: str | None
    run_id: str
    key: int | None


class Recording:
    """The recording of spans in one transaction.

    An invalid span does not affect the others: it is recorded as far as possible, or else refused.

    Args:
        txn: the transaction.
        waiting: the spans waiting before the transaction.
        homes: the runs of recent OpenTelemetry traces.
        default_run: returns the run of a span that names none; raises UsageError if there is none.

    Attributes:
        homes: the runs of recent OpenTelemetry traces after the transaction.
        refused: why spans could be neither recorded nor left waiting, by span id. Spans that already waited still do.
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
        """Record the spans that can be recorded and the spans that waited for them; let the others wait."""
        by_trace: dict[str, list[SpanRecord]] = {}
        for span in spans:
            by_trace.setdefault(span["trace_id"], []).append(span)
        for trace_id, arrived in by_trace.items():
            if any(self._is_ready(span) for span in arrived):
                self._settle(trace_id, arrived)
            else:
                self._wait(trace_id, arrived)

    def take_waiting(self, trace_ids: Iterable[str]) -> None:
        """Record the waiting spans of these OpenTelemetry traces; missing parents will not arrive any more."""
        for trace_id in trace_ids:
            self._settle(trace_id, [], is_last=True)

    def placements(self, trace_id: str, arrived: list[SpanRecord], *, is_last: bool = False) -> list[Placement]:
        """Return the waiting and arrived spans of a trace that can be recorded, parents first. Writes nothing.

        A waiting span whose entry was deleted by another writer is dropped.

        Args:
            trace_id: the OpenTelemetry trace.
            arrived: spans of the trace that are not waiting.
            is_last: whether missing parents will not arrive any more.

        Complexity: O(n log n) of the waiting and arrived spans.
        """
        keys = self._waiting.stored(trace_id)
        spans: list[tuple[SpanRecord, int | None]] = []
        for key, span_id in [] if keys is None else sorted(keys.as_dict().items()):
            span = self._store.get(str(key))
            if is_span(span) and (span["trace_id"], span["span_id"]) == (trace_id, span_id):
                spans.append((span, key))
            else:
                self._release(trace_id, key)
        spans += [(span, None) for span in arrived]
        return self._placed(spans, is_last=is_last)

    def place(self, placements: Iterable[Placement]) -> None:
        """Record spans at their places and remove them from the waiting ones. Skip spans recorded by another thread.

        Args:
            placements: the places, found in this transaction or an earlier one, parents first.
        """
        for placement in placements:
            span, key = placement.span, placement.key
            trace_id, span_id = span["trace_id"], span["span_id"]
            # Between two transactions another thread may have recorded the span, and its key may hold another one.
            if key is not None and self._waiting_under(trace_id, key) != span_id:
                continue
            try:
                self._record(span, placement.parent_id, placement.run_id)
            except UsageError as error:
                self.refused[span_id] = error
                continue
            if key is not None:
                self._forget(trace_id, key)

    def left(self) -> Waiting:
        """Return the spans waiting after this transaction."""
        return Waiting(self._waiting, self._free)

    def _is_ready(self, span: SpanRecord) -> bool:
        return local_parent_of(span) is None or self._run_above(span) is not None

    def _run_above(self, span: SpanRecord) -> str | None:
        """Return the run in which the parent span is recorded; None if there is no parent, or it is not found."""
        parent_id = local_parent_of(span)
        if parent_id is None:
            return None
        own, runs = self._run_of(span), self.homes.get(span["trace_id"], ())
        # The parent may be in another run than the one the span names: a conversation below a request.
        for run in (own, *reversed(runs)) if own is not None and own not in runs else reversed(runs):
            if self._txn.on(run).traces.get(parent_id) is not None:
                return run
        return None

    def _remember(self, trace_id: str, run: str) -> None:
        """Note that spans of an OpenTelemetry trace are in the run: spans that end later may belong below them."""
        runs = self.homes.get(trace_id, ())
        if run not in runs:
            # Never forget the first run: it is the home of all spans that name no run.
            self.homes[trace_id] = (*runs[:1], *runs[1:][2 - _RUNS_MAX :], run)

    def _settle(self, trace_id: str, arrived: list[SpanRecord], *, is_last: bool = False) -> None:
        """Record the waiting and arrived spans of a trace that can be recorded; let the others wait."""
        found = self.placements(trace_id, arrived, is_last=is_last)
        self.place(found)
        placed = {placement.span["span_id"] for placement in found} | self.refused.keys()
        self._wait(trace_id, [span for span in arrived if span["span_id"] not in placed])

    def _placed(self, spans: list[tuple[SpanRecord, int | None]], *, is_last: bool) -> list[Placement]:
        """Return the places of all spans that are ready or have an ancestor that is; each span comes with its key."""
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
            # Only cycles and the spans below them are left: the earliest span of a cycle is taken as the top.
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
                    # A trace's parent must be in the same run. The span in the metadata still names its real parent.
                    pending.append(Placement(child, span_id if own_run == run_id else None, own_run, key))
        return found

    def _home_of(self, span: SpanRecord) -> str | None:
        return next(iter(self.homes.get(span["trace_id"], ())), None)

    def _run_from_below(self, top: SpanRecord, below: dict[str, list[tuple[SpanRecord, int | None]]]) -> str:
        """Return the run that the spans below name if it is only one, as below a web server's span, or the default."""
        named = {run for span in _all_below(top, below) if (run := self._run_of(span)) is not None}
        return named.pop() if len(named) == 1 else normalize_run_id(self._default_run(top))

    def _record(self, span: SpanRecord, parent_id: str | None, run_id: str) -> None:
        here = self._txn.on(run_id)
        if here.traces.get(span["span_id"]) is not None:
            return
        if parent_id is not None and here.traces.get(parent_id) is None:
            parent_id = None
        keeps_resource = not self._resources.is_inherited(here, span, parent_id)
        recorded = store_fitted(span, lambda form: _write(here, form, parent_id, keeps_resource=keeps_resource))
        if keeps_resource:
            self._resources.note_kept(here, recorded)
        if here.runs.get_run(run_id) is None:
            here.runs.create_run(run_id, tags=[RUN_TAG])
        for number, error in enumerate(errors_of(recorded)):
            error_id = f"{span['span_id']}-{number}"
            # The application may have a trace with this id. Skip the error then: the span's own record has it, too.
            if here.traces.get(error_id) is None:
                # Marks the error as part of the span's record, so that an export to OTLP leaves it out.
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
                store_fitted(span, partial(self._store.put, str(key)))
            except UsageError as error:
                self.refused[span["span_id"]] = error
                continue
            # The last range never runs out in practice, so `rest` is not None when a range does.
            self._free = (unused[1:], rest) if len(unused) > 1 else cast("_Free", rest)
            keys = self._waiting.stored(trace_id)
            used = {key: span["span_id"]}
            more = persistent(used) if keys is None else keys.changed(used, {key: None})
            self._waiting = self._waiting.changed({trace_id: more}, {trace_id: keys})

    def _forget(self, trace_id: str, key: int) -> None:
        """Delete the entry of a waiting span."""
        self._store.delete(str(key))
        self._release(trace_id, key)

    def _waiting_under(self, trace_id: str, key: int) -> str | None:
        keys = self._waiting.stored(trace_id)
        return None if keys is None else keys.stored(key)

    def _release(self, trace_id: str, key: int) -> None:
        """Mark the key of a span that no longer waits as unused."""
        keys = self._waiting.stored(trace_id)
        if keys is None:
            raise InvariantError(f"no span of the trace {trace_id} waits")
        left = keys.changed({}, {key: keys.stored(key)})
        self._waiting = self._waiting.changed({trace_id: left} if left else {}, {trace_id: keys})
        unused, rest = self._free
        if unused.stop == key:
            # Spans that waited together are mostly released together, in key order.
            self._free = range(unused.start, key + 1), rest
        else:
            self._free = range(key, key + 1), self._free


def _all_below(top: SpanRecord, below: dict[str, list[tuple[SpanRecord, int | None]]]) -> list[SpanRecord]:
    """Return all spans below `top`, each once, even if they form a cycle."""
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
    """Return the ids of the spans that are their own ancestors. O(len(spans))."""
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
        # Even if it is empty; without it, the span would inherit the resource of the trace above.
        kept["resource"] = span.get("resource", {})
    operation: Any = span.get("attributes", {}).get(OPERATION)
    tags = [operation] if type(operation) is str and len(operation.encode()) <= USER_KEY_BYTES_MAX else []
    here.traces.record_with_options(
        kind_of(span), id=span["span_id"], parent_id=parent_id, tags=tags, metadata={METADATA_KEY: kept}
    )
    return span
