"""OpenTelemetry: a span exporter that records spans as traces of runs. Needs the extra ``otel``.

docs/integrations/opentelemetry.md describes which trace a span becomes, and in which run.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

from inmem import InmemError, InvalidKeyError, Key, UsageError
from inmem.extras import needing
from inmem.handle import plain_handle
from inmem.otlp.fitting import fitted
from inmem.otlp.recording import WAITING_RUN, Placement, Recording, Waiting
from inmem.otlp.storable import storable_attributes, storable_text, storable_time

with needing("otel", "opentelemetry"):
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import format_span_id, format_trace_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext

    from inmem import Database, Transaction
    from inmem.otlp.recording import Homes
    from inmem.otlp.spans import SpanRecord

T = TypeVar("T")

_logger: Final = logging.getLogger(__name__)
"""A logger named after the module, as in the SDK and its exporters."""

DEFAULT_RUN: Final = "opentelemetry"

_HOMES_MAX: Final = 10_000
"""OpenTelemetry traces whose runs are remembered, for spans that end after their root."""


class InmemSpanExporter(SpanExporter):
    """Records spans as traces: each batch is one transaction, as durable as the database makes it.

    Use it with a `BatchSpanProcessor`, or with a `SimpleSpanProcessor` to record every span as it ends. Use one
    exporter per database. Spans that an earlier exporter left waiting, for instance because its process was killed, are
    recorded at once.

    A span that cannot be recorded does not affect the others: it is recorded as far as possible, or else logged.

    Args:
        db: a database open for writing. The caller closes it after shutting down the provider.
        run: the run of spans that name no run and have no ancestor or descendant that names one: its id, or a function
            that returns it for the topmost span. The function may be called several times for one span. It may record
            spans itself; spans that end in its thread during the call go to `DEFAULT_RUN` without another call.

    Raises:
        UsageError: `db` is not an `inmem.Database`, or `run` is not a valid run id.
        InmemError: the database cannot be written.
    """

    def __init__(self, db: Database, *, run: str | UUID | Callable[[SpanRecord], str | UUID] = DEFAULT_RUN) -> None:
        self._db = plain_handle(db, "db")
        self._default_run = run if callable(run) else _checked_run(run)
        # Processors may call an exporter from several threads at once.
        self._lock = threading.Lock()
        self._asking = _Asking()
        self._homes: Homes = {}
        self._is_shut_down = False
        with self._db.begin(WAITING_RUN) as txn:
            self._waiting = Waiting.read(txn)
        self._take_waiting([*self._waiting.keys.as_dict()])

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Record spans that have ended, in one commit; skip spans that are recorded already.

        Returns FAILURE if a span could not be recorded; the log says which and why, and the others are recorded.
        """
        if self._is_shut_down:
            return SpanExportResult.FAILURE
        records: list[SpanRecord] = []
        for span in spans:
            try:
                records.append(span_record(span))
            except Exception as error:  # noqa: BLE001  (the SDK checks little of what applications hand to it)
                _logger.warning("the span %s could not be recorded: %r", span.name, error)
        try:
            are_all_taken = self._take(records) and len(records) == len(spans)
        except InmemError as error:
            _logger.warning("spans could not be recorded: %s", error)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS if are_all_taken else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Make all recorded spans durable, whatever the database's durability mode; return whether that succeeded."""
        del timeout_millis
        try:
            self._db.flush()
        except InmemError as error:
            _logger.warning("spans could not be made durable: %s", error)
            return False
        return True

    def shutdown(self) -> None:
        """Record the spans that still wait for a parent: the provider is shut down, so no more spans will end."""
        if not self._is_shut_down:
            self._is_shut_down = True
            # Waits for an export in progress in another thread, which may add waiting spans.
            with self._lock:
                waiting = [*self._waiting.keys.as_dict()]
            try:
                self._take_waiting(waiting)
            except InmemError as error:
                _logger.warning("spans that waited could not be recorded: %s", error)

    def _take(self, batch: list[SpanRecord]) -> bool:
        """Record a batch and return whether all its spans are recorded."""
        refused, too_much = self._in_parts(batch, Recording.take)
        for span, reason in too_much:
            refused |= self._with_what_waits(span["trace_id"], span, reason)
        for span_id, reason in refused.items():
            _logger.warning("the span %s could not be recorded: %s", span_id, reason)
        return not refused

    def _take_waiting(self, trace_ids: list[str]) -> None:
        """Record the waiting spans of these traces; spans of other traces keep waiting."""
        refused, too_much = self._in_parts(trace_ids, Recording.take_waiting)
        for trace_id, reason in too_much:
            refused |= self._with_what_waits(trace_id, None, reason)
        for span_id, reason in refused.items():
            _logger.warning("the span %s waits on in %s: %s", span_id, WAITING_RUN, reason)

    def _with_what_waits(self, trace_id: str, arrived: SpanRecord | None, reason: UsageError) -> dict[str, UsageError]:
        """Record spans that are too much for one transaction in several, parents first.

        Args:
            trace_id: the trace of the spans.
            arrived: the span that other spans may be waiting for; None if no more spans will arrive.
            reason: why the spans were too much.

        Returns:
            The reasons why spans were refused, by span id.
        """
        found: list[Placement] = []

        def find(recording: Recording) -> None:
            found[:] = recording.placements(trace_id, [] if arrived is None else [arrived], is_last=arrived is None)

        refused = self._commit(find)
        if arrived is not None and all(placement.key is not None for placement in found):
            # The arrived span has to wait, but is too much to be stored among the waiting spans.
            return {arrived["span_id"]: reason} | refused
        others, too_much = self._in_parts(found, Recording.place)
        return refused | others | {placement.span["span_id"]: why for placement, why in too_much}

    def _in_parts(
        self, items: list[T], work: Callable[[Recording, list[T]], None]
    ) -> tuple[dict[str, UsageError], list[tuple[T, UsageError]]]:
        """Do the work on all items in order, in several commits if it is too much for one.

        Returns:
            The reasons why spans were refused, by span id; and the items that are too much for one commit even alone,
            with the reason.
        """
        try:
            return self._commit(lambda recording: work(recording, items)), []
        except UsageError as error:
            if len(items) <= 1:
                return {}, [(item, error) for item in items]
            half = len(items) // 2
            first, second = self._in_parts(items[:half], work), self._in_parts(items[half:], work)
            return first[0] | second[0], first[1] + second[1]

    def _commit(self, work: Callable[[Recording], None]) -> dict[str, UsageError]:
        """Do the work in one transaction and return the spans that it refused, with the reasons.

        Raises:
            UsageError: the work is more than one transaction may write; nothing was recorded.
        """
        answers: dict[str, str | UsageError] = {}
        while True:
            try:
                return self._commit_knowing(work, answers)
            except _UnansweredError as unanswered:
                # Called without the lock or a transaction: the function may record spans, or wait for a thread that
                # does.
                answers |= {span["span_id"]: self._run_by_default(span) for span in unanswered.spans}

    def _commit_knowing(
        self, work: Callable[[Recording], None], answers: dict[str, str | UsageError]
    ) -> dict[str, UsageError]:
        """Do the same as `_commit`, with the application's answers so far, by span id.

        Raises:
            _UnansweredError: the application must be asked about more spans; nothing was recorded.
        """

        def attempt(txn: Transaction) -> Recording:
            unanswered: list[SpanRecord] = []

            def answered(span: SpanRecord) -> str:
                if not callable(self._default_run):
                    return self._default_run
                answer = answers.get(span["span_id"])
                if isinstance(answer, UsageError):
                    raise answer
                if answer is None:
                    # Continue with `DEFAULT_RUN`, to collect all spans to ask about in one pass.
                    unanswered.append(span)
                return answer or DEFAULT_RUN

            recording = Recording(txn, self._waiting, self._homes, answered)
            work(recording)
            if unanswered:
                raise _UnansweredError(unanswered)
            return recording

        with self._lock:
            done = self._db.transaction(WAITING_RUN, attempt)
            self._waiting = done.left()
            self._homes = done.homes
            while len(self._homes) > _HOMES_MAX:
                del self._homes[next(iter(self._homes))]
        return done.refused

    def _run_by_default(self, span: SpanRecord) -> str | UsageError:
        """Return the run that the application gives for a span, or the error in its answer."""
        # Under way: the function itself recorded this span. Asked about it, it would record another, endlessly.
        if not callable(self._default_run) or self._asking.is_under_way:
            return DEFAULT_RUN
        self._asking.is_under_way = True
        try:
            run = self._default_run(span)
        except Exception as error:  # noqa: BLE001  (the application's)
            return UsageError(f"run: the function of the span has failed: {error!r}")
        finally:
            self._asking.is_under_way = False
        try:
            return _checked_run(run)
        except UsageError as error:
            return error


class _Asking(threading.local):
    """Whether this thread is inside the application's `run` function."""

    is_under_way = False


class _UnansweredError(Exception):
    """The application must be asked about the runs of `spans`."""

    def __init__(self, spans: list[SpanRecord]) -> None:
        super().__init__(spans)
        self.spans = spans


def _checked_run(run: str | UUID) -> str:
    """Return the normalized id of a run that was passed as `run` or returned by it."""
    try:
        return Key.run(run).run_id
    except InvalidKeyError as error:
        raise UsageError(f"run: must be the id of a run, or return one: {error}") from error


def span_record(span: ReadableSpan) -> SpanRecord:
    """Return an ended span as plain values that can be stored. O(size of the span)."""
    start = storable_time(span.start_time)
    record = _record(
        {
            **_ids(span.get_span_context()),
            "name": storable_text(span.name),
            # The SDK numbers the kinds from INTERNAL = 0, OTLP from UNSPECIFIED = 0.
            "kind": span.kind.value + 1,
            "start_time_unix_nano": start,
            "end_time_unix_nano": storable_time(span.end_time) or start,
        },
        attributes=storable_attributes(span.attributes),
        dropped_attributes_count=span.dropped_attributes,
        events=[
            _record(
                {"name": storable_text(event.name), "time_unix_nano": storable_time(event.timestamp)},
                attributes=storable_attributes(event.attributes),
                dropped_attributes_count=event.dropped_attributes,
            )
            for event in span.events
        ],
        dropped_events_count=span.dropped_events,
        links=[
            _record(
                _ids(link.context),
                is_remote=bool(link.context.is_remote),
                attributes=storable_attributes(link.attributes),
                dropped_attributes_count=link.dropped_attributes,
            )
            for link in span.links
        ],
        dropped_links_count=span.dropped_links,
        trace_state=_trace_state(span.get_span_context()),
        status=_record({}, code=span.status.status_code.value, message=storable_text(span.status.description or "")),
        scope=_scope(span.instrumentation_scope),
        resource=_record(
            {},
            attributes=storable_attributes(span.resource.attributes),
            schema_url=storable_text(span.resource.schema_url),
        ),
    )
    if span.parent is not None:
        record["parent_span_id"] = format_span_id(span.parent.span_id)
        record["is_parent_remote"] = bool(span.parent.is_remote)
    return fitted(record)


def _record(needed: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """Return a record without the optional fields that are empty."""
    return needed | {name: value for name, value in optional.items() if value}


def _scope(scope: InstrumentationScope | None) -> dict[str, Any]:
    if scope is None:
        return {}
    return _record(
        {},
        name=storable_text(scope.name),
        version=storable_text(scope.version or ""),
        attributes=storable_attributes(scope.attributes),
        schema_url=storable_text(scope.schema_url or ""),
    )


def _ids(context: SpanContext | None) -> dict[str, Any]:
    if context is None:
        raise UsageError("span: has no context")
    return {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}


def _trace_state(context: SpanContext | None) -> str:
    return "" if context is None else storable_text(context.trace_state.to_header())
