"""The exporter under the real SDK, and the way back: what it recorded, as OTLP JSON, is what the SDK itself encodes."""

import base64
import itertools
import json
import math
import random
import threading
import tracemalloc
from enum import Enum, IntEnum
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import inmem
from inmem import Custom, Decision, ErrorTrace, Query, Thought, ToolCall
from inmem.otlp import run_to_otlp
from inmem.otlp.recording import WAITING_RUN, Recording, Waiting

pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")
pytest.importorskip("opentelemetry.exporter.otlp.proto.common", reason="needs OpenTelemetry's own encoder")

from google.protobuf.json_format import ParseDict
from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from inmem.integrations.opentelemetry import InmemSpanExporter, span_record
from tests.actors.stage import FAILSAFE_S

_IDS = ("traceId", "spanId", "parentSpanId")


@pytest.fixture
def db():
    with inmem.open(":memory:") as db:
        yield db


class Telemetry:
    """A provider that exports into a database and keeps the spans themselves too."""

    def __init__(self, db, *, resource=None, processor=SimpleSpanProcessor, **options):
        self.exporter = InmemSpanExporter(db, **options)
        self.memory = InMemorySpanExporter()
        self.provider = TracerProvider(
            resource=Resource.create(resource or {"service.name": "test"}), shutdown_on_exit=False, **LIMITS
        )
        self.provider.add_span_processor(processor(self.exporter))
        self.provider.add_span_processor(SimpleSpanProcessor(self.memory))
        self.tracer = self.provider.get_tracer("agent", "1.2", schema_url="https://example.org/1", attributes={"s": 1})

    @property
    def spans(self):
        return self.memory.get_finished_spans()


LIMITS = {"span_limits": SpanLimits(max_span_attributes=10, max_events=3)}


@pytest.fixture
def telemetry(db):
    telemetry = Telemetry(db)
    yield telemetry
    telemetry.provider.shutdown()


def parsed(request):
    """Return OTLP JSON as the protocol buffers it stands for, by OpenTelemetry's own definitions."""

    def with_base64_ids(value):
        if isinstance(value, dict):
            return {
                key: base64.b64encode(bytes.fromhex(part)).decode() if key in _IDS else with_base64_ids(part)
                for key, part in value.items()
            }
        return [with_base64_ids(part) for part in value] if isinstance(value, list) else value

    held = json.loads(json.dumps(request, allow_nan=False))
    # The JSON mapping of protocol buffers has bytes in base64; OTLP makes an exception of ids.
    return ParseDict(with_base64_ids(held), ExportTraceServiceRequest())


def by_span(request):
    """Return span id → (span, scope, resource) with all that belongs to them, whatever the order."""
    return {
        span.span_id: (span, scope_spans.scope, scope_spans.schema_url, resource.resource, resource.schema_url)
        for resource in request.resource_spans
        for scope_spans in resource.scope_spans
        for span in scope_spans.spans
    }


def trees(db, run):
    """Return the traces of a run as (id, parent id)."""
    return {trace_id: db.traces.get(run, trace_id).parent_id for trace_id in db.traces.list(run)}


def span_id(span):
    return otel.format_span_id(span.get_span_context().span_id)


def wait_below_a_root(telemetry, count=20):
    """End spans below a root that has not ended, of which one names a run; return it and all parents by id."""
    root = telemetry.tracer.start_span("root")
    parents = {}
    for number in range(count):
        named = {} if number else {"gen_ai.conversation.id": "c"}
        child = telemetry.tracer.start_span(
            "child", otel.set_span_in_context(root), attributes={"a": "x" * 1000, **named}
        )
        leaf = telemetry.tracer.start_span("leaf", otel.set_span_in_context(child), attributes={"a": "x" * 1000})
        leaf.end()
        child.end()
        parents |= {span_id(leaf): span_id(child), span_id(child): span_id(root)}
    return root, parents


def fail(span, error):
    """End a span as the SDK does when an exception passes through it."""
    with pytest.raises(type(error)), otel.use_span(span, end_on_exit=True):
        raise error


def test_what_was_recorded_is_exported_as_the_sdk_encodes_it(db, telemetry):
    tracer = telemetry.tracer
    linked = otel.Link(otel.SpanContext(7, 8, is_remote=True, trace_state=otel.TraceState([("a", "b")])), {"why": "so"})
    attributes = {
        "gen_ai.conversation.id": "c",
        "gen_ai.operation.name": "invoke_agent",
        "numbers": [1, 2**40, -1],
        "floats": (1.5, math.inf, -math.inf, -0.0),
        "structured": {"a": [True, None, {"b": b"\x00\xff"}], "empty": {}, "none": []},
        "text": "\x00é🚢",
        "empty": "",
        "zero": 0,
    }
    with tracer.start_as_current_span("agent", attributes=attributes, kind=otel.SpanKind.SERVER, links=[linked]):
        with tracer.start_as_current_span("execute_tool w", kind=otel.SpanKind.CLIENT) as tool:
            tool.set_attributes({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "w"})
            tool.add_event("progress", {"percent": 50})
            tool.set_status(otel.StatusCode.OK)
        failing = tracer.start_span("fails")
        for number in range(20):
            failing.set_attribute(f"many-{number}", number)
        fail(failing, KeyError("x"))
        other = telemetry.provider.get_tracer("another library")
        other.start_span("odd \U0001f600", start_time=5).end(end_time=6)

    expected = by_span(encode_spans(telemetry.spans))
    found = by_span(parsed(run_to_otlp(db, "c")))

    assert len(expected) == 4
    assert found == expected


def test_steps_become_what_they_were(db, telemetry):
    tracer = telemetry.tracer
    with tracer.start_as_current_span("invoke_agent a", attributes={"gen_ai.conversation.id": "c"}):
        said = [{"role": "assistant", "parts": [{"type": "text", "content": "hello"}]}]
        chat = {"gen_ai.operation.name": "chat", "gen_ai.output.messages": json.dumps(said)}
        tracer.start_span("chat m", attributes=chat).end()
        call = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.call.arguments": '{"q": 1}'}
        fail(tracer.start_span("execute_tool w", attributes=call), OSError("no net"))

    [root] = db.traces.roots("c")
    assert root.kind == Custom("invoke_agent a")
    chat, tool = db.traces.get_children("c", root.id)
    assert (chat.kind, chat.tags) == (Thought("hello"), ("chat",))
    assert isinstance(tool.kind, ToolCall)
    assert (tool.kind.tool_name, tool.kind.arguments) == ("w", {"q": 1})
    [error] = db.traces.get_children("c", tool.id)
    assert error.kind == ErrorTrace("OSError", "no net", recoverable=False)
    assert (error.id, error.metadata) == (f"{tool.id}-0", {"otel": {"error_of": tool.id}})
    assert [trace.id for trace in (chat, tool, root)] == [span_id(span) for span in telemetry.spans]
    assert root.metadata["otel"]["resource"]["attributes"]["service.name"] == "test"
    assert "resource" not in chat.metadata["otel"]
    assert db.runs.get_run("c").tags == ("opentelemetry",)


def test_children_wait_for_their_parents_in_the_database(db, telemetry):
    with telemetry.tracer.start_as_current_span("root", attributes={"gen_ai.conversation.id": "c"}):
        with telemetry.tracer.start_as_current_span("middle"):
            telemetry.tracer.start_span("leaf").end()
            assert len(db.kv.list(WAITING_RUN)) == 1
        assert len(db.kv.list(WAITING_RUN)) == 2
        assert db.runs.list_runs(include_archived=True) == []

    assert db.kv.list(WAITING_RUN) == []
    leaf, middle, root = map(span_id, telemetry.spans)
    assert trees(db, "c") == {root: None, middle: root, leaf: middle}
    assert db.runs.list_runs() == ["c"]


def test_keys_of_waiting_spans_are_used_again(db, telemetry):
    for _ in range(20):
        with telemetry.tracer.start_as_current_span("root"):
            for _ in range(3):
                telemetry.tracer.start_span("leaf").end()
    [entries] = [table for run, _, table in db._client.snapshot().tables() if run == WAITING_RUN]
    assert len(list(entries.range())) == 3


def test_a_span_that_waits_costs_no_more_however_many_wait_with_it(db):
    """Each copied the keys of all that waited: a root that was open for long made its exporter quadratic."""
    root = Telemetry(db).tracer.start_span("root")
    inside = otel.set_span_in_context(root)

    def memory_of_one_more(count):
        with inmem.open(":memory:") as other:
            telemetry = Telemetry(other, processor=BatchSpanProcessor)
            for _ in range(count):
                telemetry.tracer.start_span("leaf", inside).end()
            telemetry.provider.force_flush()
            telemetry.tracer.start_span("leaf", inside).end()
            one = span_record(telemetry.spans[-1])
            waiting = telemetry.exporter._waiting
            with other.begin(WAITING_RUN) as txn:
                recording = Recording(txn, waiting, {}, str)
                tracemalloc.start()
                try:
                    recording.take([one])
                    left = recording.left()
                    allocated = tracemalloc.get_traced_memory()[1]
                finally:
                    tracemalloc.stop()
            assert sum(map(len, left.as_dict().values())) == count + 1
            telemetry.provider.shutdown()
            return allocated

    few, many = memory_of_one_more(50), memory_of_one_more(2000)
    assert many < 2 * few


def test_what_a_killed_process_left_waiting_is_recorded_by_the_next_one(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        first = Telemetry(db)
        root = first.tracer.start_span("root", attributes={"gen_ai.conversation.id": "c"})
        inside = otel.set_span_in_context(root)
        child = first.tracer.start_span("child", context=inside, attributes={"gen_ai.conversation.id": "c"})
        first.tracer.start_span("grandchild", context=otel.set_span_in_context(child)).end()
        child.end()

    with inmem.open(tmp_path / "db") as db:
        assert len(db.kv.list(WAITING_RUN)) == 2
        InmemSpanExporter(db)
        grandchild, child = map(span_id, first.spans)
        assert trees(db, "c") == {child: None, grandchild: child}
        assert db.traces.get("c", child).metadata["otel"]["parent_span_id"] == span_id(root)
        assert db.kv.list(WAITING_RUN) == []
        assert by_span(parsed(run_to_otlp(db, "c"))) == by_span(encode_spans(first.spans))


def test_a_shutdown_records_what_still_waits(db):
    telemetry = Telemetry(db, run="default")
    root = telemetry.tracer.start_span("never ends")
    telemetry.tracer.start_span("child", context=otel.set_span_in_context(root)).end()
    telemetry.provider.shutdown()

    [child] = db.traces.roots("default")
    assert child.kind == Custom("child")
    assert telemetry.exporter.export(telemetry.spans) is SpanExportResult.FAILURE
    telemetry.exporter.shutdown()
    assert db.traces.count("default") == 1


def test_spans_that_end_after_their_root_did(db, telemetry):
    root = telemetry.tracer.start_span("root", attributes={"gen_ai.conversation.id": "c"})
    child = telemetry.tracer.start_span("child", context=otel.set_span_in_context(root))
    grandchild = telemetry.tracer.start_span("grandchild", context=otel.set_span_in_context(child))
    root.end()
    grandchild.end()
    assert db.traces.count("c") == 1
    child.end()
    assert trees(db, "c") == {
        span_id(root): None,
        span_id(child): span_id(root),
        span_id(grandchild): span_id(child),
    }


@pytest.mark.parametrize("processor", [SimpleSpanProcessor, BatchSpanProcessor])
def test_a_batch_is_one_commit(db, processor):
    telemetry = Telemetry(db, processor=processor)
    with telemetry.tracer.start_as_current_span("root"):
        for _ in range(5):
            telemetry.tracer.start_span("leaf").end()
    telemetry.provider.force_flush()

    assert db.traces.count("opentelemetry") == 6
    assert db.version == (6 if processor is SimpleSpanProcessor else 1)
    telemetry.provider.shutdown()


def test_a_span_is_recorded_once(db, telemetry):
    telemetry.tracer.start_span("root").end()
    version = db.version
    assert telemetry.exporter.export(telemetry.spans) is SpanExportResult.SUCCESS
    assert (db.traces.count("opentelemetry"), db.version) == (1, version)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 15), batch=st.integers(1, 6))
def test_whatever_the_order_in_which_spans_end_the_tree_is_the_same(seed, size, batch):
    choose = random.Random(seed)
    with inmem.open(":memory:") as db:
        memory = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(memory))
        tracer = provider.get_tracer("t")
        spans = [tracer.start_span("0", attributes={"gen_ai.conversation.id": "c"})]
        for number in range(1, size):
            spans.append(tracer.start_span(str(number), context=otel.set_span_in_context(choose.choice(spans))))
        choose.shuffle(spans)
        for span in spans:
            span.end()
        finished = memory.get_finished_spans()
        exporter = InmemSpanExporter(db)
        for at in range(0, size, batch):
            assert exporter.export(finished[at : at + batch]) is SpanExportResult.SUCCESS
            exporter._waiting.check()
            with db.begin(WAITING_RUN) as txn:
                reopened = Waiting.read(txn)
            reopened.check()
            assert reopened.as_dict() == exporter._waiting.as_dict()
        provider.shutdown()

        parents = {span_id(span): span.parent and otel.format_span_id(span.parent.span_id) for span in finished}
        assert trees(db, "c") == parents
        assert db.kv.list(WAITING_RUN) == []
        assert by_span(parsed(run_to_otlp(db, "c"))) == by_span(encode_spans(finished))
        with db.begin("c") as txn:
            txn.traces.check()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 15), batch=st.integers(1, 6))
def test_whatever_the_order_in_which_spans_end_each_is_in_the_run_it_names_or_in_that_of_the_span_above(
    seed, size, batch
):
    choose = random.Random(seed)
    with inmem.open(":memory:") as db:
        memory = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(memory))
        tracer = provider.get_tracer("t")
        spans, runs, expected = [], [], {}
        for number in range(size):
            above = choose.randrange(number) if number else None
            named = choose.choice("abc") if above is None else choose.choice(["a", "b", "c", None, None, None])
            context = None if above is None else otel.set_span_in_context(spans[above])
            spans.append(tracer.start_span(str(number), context, attributes={"inmem.run_id": named} if named else {}))
            runs.append(named or runs[above])
            has_parent = above is not None and runs[above] == runs[number]
            expected[runs[number], span_id(spans[number])] = span_id(spans[above]) if has_parent else None
        choose.shuffle(spans)
        for span in spans:
            span.end()
        finished = memory.get_finished_spans()
        exporter = InmemSpanExporter(db)
        for at in range(0, size, batch):
            assert exporter.export(finished[at : at + batch]) is SpanExportResult.SUCCESS
        assert db.kv.list(WAITING_RUN) == []
        placed = {(run, each): parent for run in db.runs.list_runs() for each, parent in trees(db, run).items()}
        assert placed == expected
        provider.shutdown()


def test_threads_that_end_spans_at_once(db, telemetry):
    def work(number):
        with telemetry.tracer.start_as_current_span("root", attributes={"gen_ai.conversation.id": f"c{number}"}):
            for _ in range(10):
                telemetry.tracer.start_span("leaf").end()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [db.traces.count(f"c{number}") for number in range(4)] == [11] * 4
    assert db.kv.list(WAITING_RUN) == []


class TestRuns:
    """Which run a span belongs to."""

    def test_the_conversation_of_a_child_gives_the_run_of_a_request(self, db, telemetry):
        with (
            telemetry.tracer.start_as_current_span("POST /chat"),
            telemetry.tracer.start_as_current_span("agent", attributes={"gen_ai.conversation.id": "c"}),
        ):
            telemetry.tracer.start_span("leaf").end()
        assert db.runs.list_runs() == ["c"]
        assert db.traces.count("c") == 3

    def test_two_conversations_below_one_request_are_two_runs(self, db, telemetry):
        with telemetry.tracer.start_as_current_span("batch job") as job:
            for name in ("c1", "c2"):
                with telemetry.tracer.start_as_current_span(name, attributes={"gen_ai.conversation.id": name}):
                    telemetry.tracer.start_span("leaf").end()
        assert {run: db.traces.count(run) for run in db.runs.list_runs()} == {"opentelemetry": 1, "c1": 2, "c2": 2}
        [top] = db.traces.roots("c1")
        assert top.metadata["otel"]["parent_span_id"] == span_id(job)
        found = {**by_span(parsed(run_to_otlp(db, "c1"))), **by_span(parsed(run_to_otlp(db, "c2")))}
        found |= by_span(parsed(run_to_otlp(db, "opentelemetry")))
        assert found == by_span(encode_spans(telemetry.spans))

    def test_a_late_child_with_a_run_of_its_own(self, db, telemetry):
        root = telemetry.tracer.start_span("root", attributes={"inmem.run_id": "a"})
        child = telemetry.tracer.start_span("child", otel.set_span_in_context(root), attributes={"inmem.run_id": "b"})
        root.end()
        child.end()
        assert (trees(db, "a"), trees(db, "b")) == ({span_id(root): None}, {span_id(child): None})

    def test_a_late_child_belongs_to_the_run_of_the_span_above(self, db, telemetry):
        """It was looked for in the run of the request only: it waited for ever, one more for each request."""

        def below(span, name, **attributes):
            return telemetry.tracer.start_span(name, otel.set_span_in_context(span), attributes=attributes)

        for number in range(3):
            request = telemetry.tracer.start_span("POST /chat", attributes={"inmem.run_id": "web"})
            agent = below(request, "agent", **{"gen_ai.conversation.id": f"c{number}"})
            late, other, after = below(agent, "late"), below(agent, "other"), below(request, "after")
            below_late = below(late, "below")
            agent.end()
            request.end()
            below_late.end()
            late.end()
            other.end()
            after.end()
            assert db.kv.list(WAITING_RUN) == []
            expected = {span_id(each): span_id(agent) for each in (late, other)}
            assert trees(db, f"c{number}") == {span_id(agent): None, span_id(below_late): span_id(late), **expected}
            assert trees(db, "web")[span_id(after)] == span_id(request)
        assert sorted(db.runs.list_runs()) == ["c0", "c1", "c2", "web"]
        assert db.traces.count("web") == 6

    def test_a_late_child_of_a_trace_that_went_through_many_runs(self, db, telemetry):
        """Its home and the newest ones are remembered, and no more than that."""
        root = telemetry.tracer.start_span("root", attributes={"inmem.run_id": "home"})
        inside = otel.set_span_in_context(root)
        root.end()
        for number in range(150):
            last = telemetry.tracer.start_span("agent", inside, attributes={"inmem.run_id": f"r{number}"})
            last.end()
        telemetry.tracer.start_span("late", otel.set_span_in_context(last)).end()
        telemetry.tracer.start_span("late", inside).end()
        assert (db.traces.count("r149"), db.traces.count("home")) == (2, 2)
        [runs] = telemetry.exporter._homes.values()
        assert (len(runs), runs[0], runs[1], runs[-1]) == (100, "home", "r51", "r149")

    def test_the_resource_may_name_the_run_of_all(self, db):
        telemetry = Telemetry(db, resource={"inmem.run_id": "r"})
        telemetry.tracer.start_span("a", attributes={"gen_ai.conversation.id": "c"}).end()
        assert db.runs.list_runs() == ["r"]

    @pytest.mark.parametrize(
        ("run", "expected"),
        [
            ("mine", "mine"),
            (UUID(int=5), str(UUID(int=5))),
            (lambda span: f"run of {span['name']}", "run of a"),
            (lambda _span: UUID(int=5), str(UUID(int=5))),
        ],
    )
    def test_the_default_is_the_applications_choice(self, db, run, expected):
        telemetry = Telemetry(db, run=run)
        telemetry.tracer.start_span("a").end()
        assert db.runs.list_runs() == [expected]

    def test_a_run_that_is_registered_stays_as_it_is(self, db, telemetry):
        db.runs.create_run("c", tags=["mine"])
        db.runs.complete_run("c")
        telemetry.tracer.start_span("a", attributes={"gen_ai.conversation.id": "c"}).end()
        assert (db.runs.get_run("c").tags, db.runs.get_run("c").status) == (("mine",), "Completed")
        assert db.traces.count("c") == 1

    @pytest.mark.parametrize("name", ["x" * 256, "\ud800"])
    def test_what_cannot_be_a_run_names_none(self, db, telemetry, name):
        telemetry.tracer.start_span("a", attributes={"gen_ai.conversation.id": name}).end()
        [run] = db.runs.list_runs()
        assert run == ("opentelemetry" if len(name) > 1 else "\\ud800")

    @pytest.mark.parametrize(
        ("run", "reason"),
        [("", "must not be empty"), (5, "must be a str or a uuid.UUID, not int"), ("x" * 256, "256 characters")],
    )
    def test_a_default_that_can_be_no_run_is_refused_when_the_exporter_is_made(self, db, run, reason):
        with pytest.raises(inmem.UsageError, match=f"^run: must be the id of a run, or return one: run id: {reason}"):
            InmemSpanExporter(db, run=run)
        assert db.version == 0

    @pytest.mark.parametrize("is_elsewhere", [False, True], ids=["its own thread", "another thread"])
    def test_a_function_that_records_spans_itself(self, db, is_elsewhere):
        """It was called while the exporter's lock was held, and the export of its span waited for that for ever."""
        asked = []

        def look_up():
            with telemetry.tracer.start_as_current_span("look up", attributes=named):
                telemetry.tracer.start_span("select").end()

        def run_of(span):
            asked.append(span["name"])
            if is_elsewhere:
                other = threading.Thread(target=look_up, daemon=True)
                other.start()
                other.join()
            else:
                look_up()
            return "tenant"

        # Another thread has nothing to do with the span that is asked about: so it has to name the run of its own.
        named = {"inmem.run_id": "opentelemetry"} if is_elsewhere else {}
        telemetry = Telemetry(db, run=run_of)
        work = threading.Thread(target=lambda: telemetry.tracer.start_span("root").end(), daemon=True)
        work.start()
        work.join(FAILSAFE_S)
        assert not work.is_alive()
        assert asked == ["root"]
        assert {run: db.traces.count(run) for run in db.runs.list_runs()} == {"tenant": 1, "opentelemetry": 2}
        assert db.kv.list(WAITING_RUN) == []

    def test_a_function_that_records_spans_below_the_one_it_is_asked_about(self, db):
        def run_of(_span):
            telemetry.tracer.start_span("look up", otel.set_span_in_context(root)).end()
            return "tenant"

        telemetry = Telemetry(db, run=run_of)
        root = telemetry.tracer.start_span("root")
        work = threading.Thread(target=root.end, daemon=True)
        work.start()
        work.join(FAILSAFE_S)
        assert not work.is_alive()
        [look_up, _] = telemetry.spans
        assert trees(db, "tenant") == {span_id(root): None, span_id(look_up): span_id(root)}

    def test_a_function_is_asked_once_about_each_top_of_a_batch(self, db):
        asked = []
        telemetry = Telemetry(db, processor=BatchSpanProcessor, run=lambda span: asked.append(span["name"]) or "mine")
        for name in "abc":
            with telemetry.tracer.start_as_current_span(name):
                telemetry.tracer.start_span("leaf").end()
        telemetry.provider.force_flush()
        assert (asked, db.version, db.traces.count("mine")) == (["a", "b", "c"], 1, 6)
        telemetry.provider.shutdown()

    def test_a_function_that_returns_no_run_fails_the_export(self, db):
        telemetry = Telemetry(db, run=lambda _span: None)
        telemetry.tracer.start_span("a").end()
        assert telemetry.exporter.export(telemetry.spans) is SpanExportResult.FAILURE
        assert db.version == 0


class TestHostile:
    """Spans that are hard to keep."""

    def test_numbers_and_texts_beyond_what_can_be_stored(self, db, telemetry):
        attributes = {"big": 2**70, "text": "a\ud800b", "many": [2**64]}
        telemetry.tracer.start_span("bad\udfff", attributes=attributes).end()
        [trace] = db.traces.roots("opentelemetry")
        assert trace.kind == Custom("bad\\udfff")
        assert trace.metadata["otel"]["attributes"] == {
            "big": str(2**70), "text": "a\\ud800b", "many": [str(2**64)]
        }  # fmt: skip

    def test_what_is_too_large_or_too_deep_is_left_out_and_says_so(self, db, telemetry):
        deep = []
        for _ in range(100):
            deep = [deep]
        telemetry.tracer.start_span("deep", attributes={"gen_ai.operation.name": "execute_tool", "d": deep}).end()
        telemetry.tracer.start_span("large", attributes={"l": "x" * (17 * 2**20)}).end()
        deep, large = db.traces.roots("opentelemetry")
        assert deep.kind == ToolCall("deep", duration_ms=deep.kind.duration_ms)
        assert deep.metadata["otel"]["attributes"] == {"gen_ai.operation.name": "execute_tool"}
        assert "nested deeper" in deep.metadata["otel"]["refused"]
        assert (large.kind, "attributes" in large.metadata["otel"]) == (Custom("large"), False)
        assert "larger than" in large.metadata["otel"]["refused"]
        assert len(by_span(parsed(run_to_otlp(db, "opentelemetry")))) == 2

    def test_what_is_too_large_leaves_the_span_in_its_run_and_of_its_kind(self):
        call = {"inmem.run_id": "job", "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "read"}
        with inmem.open(":memory:", limits=inmem.Limits(value_bytes_max=5000)) as db:
            telemetry = Telemetry(db)
            with telemetry.tracer.start_as_current_span("agent", attributes={"inmem.run_id": "job"}) as root:
                large = {**call, "small": 1, "gen_ai.tool.call.result": "y" * 6000, "less": "z" * 100}
                span = telemetry.tracer.start_span("below", attributes=large)
                span.add_event("small event")
                span.add_event("large event", {"text": "x" * 5500})
                span.end()
            # So much of it that hardly anything is left.
            telemetry.tracer.start_span("alone", attributes={**call, "x" * 20_000: 1}, links=[]).end()
            crowd = {**call, **{f"a{at}": "x" * 1000 for at in range(6)}}
            telemetry.tracer.start_span("crowd", attributes=crowd).end()
            described = Telemetry(db, resource={"inmem.run_id": "of a resource", "large": "x" * 6000})
            described.tracer.start_span("resource").end()
            described.provider.shutdown()

            assert db.runs.list_runs() == ["job", "of a resource"]
            below, alone, crowded = db.traces.query_by_type("job", "ToolCall")
            assert {trace.kind.tool_name for trace in (below, alone, crowded)} == {"read"}
            assert trees(db, "job")[span_id(span)] == span_id(root)
            kept = below.metadata["otel"]
            assert kept["attributes"] == {**call, "small": 1, "less": "z" * 100}
            assert [event["name"] for event in kept["events"]] == ["small event"]
            assert "larger than 5000 bytes" in kept["refused"]
            assert alone.metadata["otel"]["attributes"] == call
            assert len(crowded.metadata["otel"]["attributes"]) == len(call) + 4
            telemetry.provider.shutdown()

    def test_spans_in_a_circle_are_recorded_at_the_last(self, db):
        exporter = InmemSpanExporter(db)

        def span(own, parent, start):
            context = SpanContext(8, own, is_remote=False)
            above = SpanContext(8, parent, is_remote=False)
            return ReadableSpan(str(own), context, parent=above, start_time=start, end_time=9)

        # The last one began before all of its circle, as where a clock was set back: it is below that all the same.
        circles = [span(1, 1, 1), span(2, 3, 3), span(3, 2, 2), span(4, 3, 4), span(5, 2, 0)]
        assert exporter.export(circles) is SpanExportResult.SUCCESS
        assert len(db.kv.list(WAITING_RUN)) == 5
        exporter.shutdown()
        assert db.kv.list(WAITING_RUN) == []
        assert {int(own): above and int(above) for own, above in trees(db, "opentelemetry").items()} == {
            1: None, 3: None, 2: 3, 4: 3, 5: 2
        }  # fmt: skip

    def test_below_a_top_whose_run_is_refused_nothing_is_taken_for_a_circle(self, db):
        telemetry = Telemetry(db, run=lambda _span: "")
        root = telemetry.tracer.start_span("root")
        context = otel.set_span_in_context(root)
        parent = telemetry.tracer.start_span("parent", context)
        telemetry.tracer.start_span("child", otel.set_span_in_context(parent)).end()
        parent.end()
        telemetry.provider.shutdown()
        assert len(db.kv.list(WAITING_RUN)) == 2
        assert db.runs.list_runs() == []

    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ('{"order": 10000000000000000000}', {"order": "10000000000000000000"}),
            ('["\\ud800"]', ["\\ud800"]),
            ("[" * 70 + "]" * 70, "[" * 70 + "]" * 70),
        ],
        ids=["integer", "surrogate", "deep"],
    )
    def test_the_json_of_a_tool_call_that_waits_is_no_trouble_for_anybody(self, tmp_path, text, kept):
        with inmem.open(tmp_path / "db") as db:
            telemetry = Telemetry(db)
            with telemetry.tracer.start_as_current_span("root"):
                call = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.call.arguments": text}
                telemetry.tracer.start_span("call", attributes=call).end()
            [trace] = db.traces.query_by_type("opentelemetry", "ToolCall")
            assert trace.kind.arguments == kept
            assert by_span(parsed(run_to_otlp(db, "opentelemetry"))) == by_span(encode_spans(telemetry.spans))
            telemetry.provider.shutdown()
            assert db.kv.list(WAITING_RUN) == []

    def test_an_operation_of_several_names_is_none(self, db, telemetry):
        telemetry.tracer.start_span("a", attributes={"gen_ai.operation.name": ["chat", "plan"]}).end()
        [trace] = db.traces.roots("opentelemetry")
        assert (trace.kind, trace.tags) == (Custom("a"), ())

    def test_values_of_subclasses_and_integers_of_any_length(self, db, telemetry):
        class Operation(str, Enum):  # noqa: UP042  (one whose text is not its value)
            CHAT = "chat"

        class Level(IntEnum):
            HIGH = 3

        class Share(float):
            pass

        given_values = {"o": Operation.CHAT, "l": Level.HIGH, "s": [Share(0.5)], "n": 10**5000}
        telemetry.tracer.start_span("a", attributes=given_values).end()
        [trace] = db.traces.roots("opentelemetry")
        kept = trace.metadata["otel"]["attributes"]
        assert kept == {"o": "chat", "l": 3, "s": [0.5], "n": hex(10**5000)}

    @pytest.mark.parametrize("depth", [*range(55, 70), 200, 300])
    def test_attributes_of_any_depth(self, db, telemetry, depth):
        deep = 0
        for _ in range(depth):
            deep = [deep]
        telemetry.tracer.start_span("a", attributes={"d": deep}).end()
        [trace] = db.traces.roots("opentelemetry")
        assert ("attributes" in trace.metadata["otel"]) is (depth < 62)

    def test_names_and_times_that_are_none(self, db, telemetry):
        telemetry.tracer.start_span(7, start_time=1.5e9).end(2**70)
        telemetry.tracer.start_span("b", start_time="x").end(math.inf)
        spans = {trace.kind.name: trace.metadata["otel"] for trace in db.traces.roots("opentelemetry")}
        times = {name: (span["start_time_unix_nano"], span["end_time_unix_nano"]) for name, span in spans.items()}
        assert times == {"7": (1_500_000_000, 2**63 - 1), "b": (0, 0)}

    def test_a_span_that_cannot_be_read_takes_no_other_with_it(self, db, telemetry, caplog):
        telemetry.tracer.start_span("fine").end()
        telemetry.tracer.start_span("odd", kind="a str").end()
        fine, odd = telemetry.spans
        with inmem.open(":memory:") as other:
            exporter = InmemSpanExporter(other)
            assert exporter.export([odd, fine]) is SpanExportResult.FAILURE
            assert [trace.kind.name for trace in other.traces.roots("opentelemetry")] == ["fine"]
        assert "the span odd could not be recorded" in caplog.text

    def test_under_a_small_limit_a_span_is_recorded_as_far_as_it_can_be(self):
        with inmem.open(":memory:", limits=inmem.Limits(value_bytes_max=1000)) as db:
            telemetry = Telemetry(db, resource={"service.name": "x" * 900})
            with telemetry.tracer.start_as_current_span("n" * 2000):
                telemetry.tracer.start_span("large", attributes={"a": "x" * 2000}).end()
                telemetry.tracer.start_span("small", attributes={"a": "x"}).end()
            fail(telemetry.tracer.start_span("fails"), KeyError("y" * 3000))
            kept = {trace.kind.name: trace.metadata["otel"] for trace in db.traces.roots("opentelemetry")}
            assert kept.keys() == {"n" * 100, "fails"}
            assert "larger than 1000 bytes" in kept["n" * 100]["refused"]
            assert kept["fails"]["status"] == {"code": 2}
            assert db.kv.list(WAITING_RUN) == []
            telemetry.provider.shutdown()
            assert len(by_span(parsed(run_to_otlp(db, "opentelemetry")))) == 4

    def test_under_a_limit_too_small_for_any_span_all_are_refused(self, caplog):
        with inmem.open(":memory:", limits=inmem.Limits(value_bytes_max=50)) as db:
            telemetry = Telemetry(db)
            root = telemetry.tracer.start_span("root")
            telemetry.tracer.start_span("child", otel.set_span_in_context(root)).end()
            root.end()
            assert telemetry.exporter.export(telemetry.spans) is SpanExportResult.FAILURE
            assert db.version == 0
        for span in telemetry.spans:
            assert f"the span {span_id(span)} could not be recorded" in caplog.text

    def test_a_batch_that_is_too_much_for_one_transaction_takes_several(self, tmp_path):
        limits = inmem.Limits(transaction_bytes_max=8000)
        with inmem.open(tmp_path / "db") as db:
            telemetry = Telemetry(db)
            for _ in range(20):
                root = telemetry.tracer.start_span("never ends")
                context = otel.set_span_in_context(root)
                telemetry.tracer.start_span("child", context, attributes={"a": "x" * 500}).end()
        with inmem.open(tmp_path / "db", limits=limits) as db:
            exporter = InmemSpanExporter(db)
            assert db.kv.list(WAITING_RUN) == []
            for _ in range(20):
                telemetry.tracer.start_span("root", attributes={"a": "x" * 500}).end()
            assert exporter.export(telemetry.spans) is SpanExportResult.SUCCESS
            assert db.traces.count("opentelemetry") == 40

    def test_what_waits_for_a_span_and_is_too_much_with_it_follows_in_several(self, caplog):
        """The root was dropped, and all that had waited for it waited for ever."""
        with inmem.open(":memory:", limits=inmem.Limits(transaction_bytes_max=20_000)) as db:
            telemetry = Telemetry(db)
            root, parents = wait_below_a_root(telemetry)
            version = db.version
            root.end()
            assert db.version > version + 1
            # The run that one of them names is that of the root, which came first.
            assert trees(db, "c") == {span_id(root): None, **parents}
            assert (db.runs.list_runs(), db.kv.list(WAITING_RUN), caplog.text) == (["c"], [], "")
            telemetry.exporter._waiting.check()
            assert by_span(parsed(run_to_otlp(db, "c"))) == by_span(encode_spans(telemetry.spans))
            telemetry.provider.shutdown()

    def test_what_was_left_waiting_and_is_too_much_takes_several_too_but_for_what_is_so_alone(self, tmp_path, caplog):
        with inmem.open(tmp_path / "db") as db:
            telemetry = Telemetry(db)
            root, parents = wait_below_a_root(telemetry)
            large = telemetry.tracer.start_span("large", otel.set_span_in_context(root), attributes={"a": "x" * 30_000})
            below = telemetry.tracer.start_span("below", otel.set_span_in_context(large))
            below.end()
            large.end()
        with inmem.open(tmp_path / "db", limits=inmem.Limits(transaction_bytes_max=20_000)) as db:
            exporter = InmemSpanExporter(db, run="c")
            at_top = {trace: None for trace, parent in parents.items() if parent == span_id(root)}
            assert trees(db, "c") == {**parents, **at_top, span_id(below): None}
            assert len(db.kv.list(WAITING_RUN)) == 1
            assert caplog.text.count("waits on in") == 1
            assert f"the span {span_id(large)} waits on in {WAITING_RUN}: the transaction writes" in caplog.text
            exporter._waiting.check()

    def test_a_span_that_is_too_much_to_wait_is_refused_as_it_is(self, caplog):
        with inmem.open(":memory:", limits=inmem.Limits(transaction_bytes_max=20_000)) as db:
            telemetry = Telemetry(db)
            root, _ = wait_below_a_root(telemetry, count=1)
            large = telemetry.tracer.start_span("large", otel.set_span_in_context(root), attributes={"a": "x" * 30_000})
            large.end()
            assert f"the span {span_id(large)} could not be recorded: the transaction writes" in caplog.text
            root.end()
            assert (db.traces.count("c"), db.kv.list(WAITING_RUN)) == (3, [])
            telemetry.provider.shutdown()

    def test_another_thread_that_comes_between_those_transactions_loses_nothing(self, caplog):
        """A key that it frees and uses again holds a span that is none of the first thread's business."""

        class Interrupted(InmemSpanExporter):
            between = ()

            def _in_parts(self, items, work):
                if work is Recording.place and db.traces.count("c"):
                    spans, self.between = self.between, ()
                    for span in spans:
                        assert self.export([span]) is SpanExportResult.SUCCESS
                return super()._in_parts(items, work)

        with inmem.open(":memory:", limits=inmem.Limits(transaction_bytes_max=20_000)) as db:
            telemetry = Telemetry(db)
            root, parents = wait_below_a_root(telemetry)
            other = TracerProvider(shutdown_on_exit=False).get_tracer("exported by hand")
            late = other.start_span("late", otel.set_span_in_context(root))
            open_one = other.start_span("open", otel.set_span_in_context(root))
            waits = other.start_span("waits", otel.set_span_in_context(open_one))
            late.end()
            waits.end()
            telemetry.exporter.__class__ = Interrupted
            telemetry.exporter.between = (late, waits)
            root.end()
            assert (telemetry.exporter.between, caplog.text) == ((), "")
            assert trees(db, "c") == {span_id(root): None, **parents, span_id(late): span_id(root)}
            [kept] = db.kv.list_with_values(WAITING_RUN)
            assert kept[1]["span_id"] == span_id(waits)
            telemetry.exporter._waiting.check()
            telemetry.provider.shutdown()

    def test_what_is_too_much_for_any_transaction_waits_and_keeps_nobody_waiting(self, tmp_path, caplog):
        with inmem.open(tmp_path / "db") as db:
            telemetry = Telemetry(db)
            for size in (10, 20_000):
                context = otel.set_span_in_context(telemetry.tracer.start_span("never ends"))
                telemetry.tracer.start_span(f"child {size}", context, attributes={"a": "x" * size}).end()
        with inmem.open(tmp_path / "db", limits=inmem.Limits(transaction_bytes_max=8000)) as db:
            exporter = InmemSpanExporter(db)
            assert [trace.kind.name for trace in db.traces.roots("opentelemetry")] == ["child 10"]
            assert "waits on in opentelemetry.waiting: the transaction writes" in caplog.text
            large = telemetry.spans[1]
            assert exporter.export([large]) is SpanExportResult.FAILURE
        with inmem.open(tmp_path / "db") as db:
            InmemSpanExporter(db)
            assert db.traces.count("opentelemetry") == 2

    @pytest.mark.parametrize(
        "run", [lambda _span: "", lambda _span: 1, lambda _span: "x" * 256, lambda span: span["nothing"]]
    )
    def test_a_default_that_is_no_run_concerns_those_who_need_it(self, tmp_path, run, caplog):
        named = {"inmem.run_id": "r"}
        with inmem.open(tmp_path / "db") as db:
            telemetry = Telemetry(db)
            for attributes in ({}, named):
                context = otel.set_span_in_context(telemetry.tracer.start_span("never ends"))
                telemetry.tracer.start_span("child", context, attributes=attributes).end()
        with inmem.open(tmp_path / "db") as db:
            exporter = InmemSpanExporter(db, run=run)
            assert db.traces.count("r") == 1
            nameless = telemetry.spans[0]
            assert f"the span {span_id(nameless)} waits on in {WAITING_RUN}: run" in caplog.text
            telemetry.tracer.start_span("nameless").end()
            telemetry.tracer.start_span("named", attributes=named).end()
            assert exporter.export(telemetry.spans[2:]) is SpanExportResult.FAILURE
            exporter.shutdown()
            assert (db.traces.count("r"), len(db.kv.list(WAITING_RUN))) == (2, 1)
        with inmem.open(tmp_path / "db") as db:
            InmemSpanExporter(db, run="mine")
            assert (db.traces.list("mine"), db.kv.list(WAITING_RUN)) == ([span_id(nameless)], [])

    def test_what_waits_under_a_smaller_limit_than_it_was_kept_under(self, tmp_path):
        with inmem.open(tmp_path / "db") as db:
            telemetry = Telemetry(db)
            context = otel.set_span_in_context(telemetry.tracer.start_span("never ends"))
            telemetry.tracer.start_span("child", context).end()
        with inmem.open(tmp_path / "db", limits=inmem.Limits(value_bytes_max=50)) as db:
            InmemSpanExporter(db).shutdown()
            assert len(db.kv.list(WAITING_RUN)) == 1
        with inmem.open(tmp_path / "db") as db:
            InmemSpanExporter(db)
            assert (db.traces.count("opentelemetry"), db.kv.list(WAITING_RUN)) == (1, [])

    def test_spans_that_no_trace_could_be_made_of_wait_no_longer(self, db, caplog):
        """Those that exporters before this one left: each of them made all later ones fail."""
        deep = 0
        for _ in range(62):
            deep = [deep]
        call = {"gen_ai.operation.name": "execute_tool"}
        for number, attributes in enumerate(
            [
                {"gen_ai.tool.call.result": f"[{2**64}]"},
                {"gen_ai.tool.call.result": '{"\\udfff": 1}'},
                {"gen_ai.operation.name": ["chat"]},
                {"deep": deep},
                {},
            ]
        ):
            span = {
                "trace_id": f"{number % 2:032x}",
                "span_id": f"{number:016x}",
                "parent_span_id": "f" * 16,
                "name": str(number),
                "start_time_unix_nano": number,
                "end_time_unix_nano": 9,
            }
            db.kv.put(WAITING_RUN, str(number), {**span, "attributes": call | attributes})

        InmemSpanExporter(db)
        assert db.kv.list(WAITING_RUN) == []
        traces = [db.traces.get("opentelemetry", f"{number:016x}") for number in range(5)]
        assert [trace.kind for trace in traces[:4:2]] == [ToolCall("0", None, [str(2**64)], 9e-6), Custom("2")]
        assert traces[1].kind.result == {"\\udfff": 1}
        assert "nested deeper than 64 levels" in traces[3].metadata["otel"]["refused"]
        assert traces[4].kind == ToolCall("4", duration_ms=5e-6)
        assert caplog.text == ""

    @pytest.mark.parametrize("is_overwritten", [False, True])
    def test_what_somebody_removes_from_among_the_waiting_concerns_only_itself(self, db, is_overwritten, caplog):
        """One that was missing failed every later export of its trace, and the shutdown."""
        telemetry = Telemetry(db)
        with telemetry.tracer.start_as_current_span("root") as root:
            for name in "abc":
                telemetry.tracer.start_span(name).end()
            db.delete(WAITING_RUN, "1")
            if is_overwritten:
                db.put(WAITING_RUN, "1", {"name": "b"})
        assert len(trees(db, "opentelemetry")) == 3
        assert [trace.kind.name for trace in db.traces.get_children("opentelemetry", span_id(root))] == ["a", "c"]
        telemetry.exporter._waiting.check()
        telemetry.tracer.start_span("d", otel.set_span_in_context(telemetry.tracer.start_span("open"))).end()
        [[key]] = telemetry.exporter._waiting.as_dict().values()
        db.delete(WAITING_RUN, str(key))
        telemetry.provider.shutdown()
        assert (len(telemetry.exporter._waiting.as_dict()), caplog.text) == (0, "")

    @pytest.mark.parametrize("key", ["mine", "-1", "01", "\u0661", "9" * 5000, str(2**62), "7"])
    @pytest.mark.parametrize("value", ["x", None, {"trace_id": 1, "span_id": "2"}])
    def test_what_somebody_puts_among_the_waiting_stays_as_it_is(self, db, key, value):
        """No exporter could be made for such a database."""
        key = key[:900]
        db.put(WAITING_RUN, key, value)
        telemetry = Telemetry(db)
        telemetry.exporter._waiting.check()
        with telemetry.tracer.start_as_current_span("root"):
            telemetry.tracer.start_span("child").end()
        telemetry.provider.shutdown()
        assert db.traces.count("opentelemetry") == 2
        assert db.kv.list_with_values(WAITING_RUN) == [(key, value)]

    def test_a_trace_of_the_applications_under_the_id_of_an_error(self, db, telemetry):
        failing = telemetry.tracer.start_span("fails")
        db.traces.record_with_options("opentelemetry", Thought("mine"), id=f"{span_id(failing)}-0")
        fail(failing, KeyError("x"))
        assert db.traces.get("opentelemetry", span_id(failing)).kind == Custom("fails")

    def test_a_tag_that_would_be_too_long(self, db, telemetry):
        telemetry.tracer.start_span("a", attributes={"gen_ai.operation.name": "x" * 2000}).end()
        assert db.traces.roots("opentelemetry")[0].tags == ()

    def test_a_closed_database_fails_the_export_and_loses_nothing(self, tmp_path, caplog):
        db = inmem.open(tmp_path / "db")
        telemetry = Telemetry(db)
        root = telemetry.tracer.start_span("root")
        telemetry.tracer.start_span("child", context=otel.set_span_in_context(root)).end()
        db.close()
        root.end()
        assert telemetry.exporter.export(telemetry.spans) is SpanExportResult.FAILURE
        assert telemetry.exporter.force_flush() is False
        telemetry.provider.shutdown()
        assert "spans could not be recorded: the database is closed" in caplog.text
        with inmem.open(tmp_path / "db") as db:
            InmemSpanExporter(db)
            assert db.traces.count("opentelemetry") == 1


def test_a_flush_is_a_flush(db, telemetry):
    telemetry.tracer.start_span("a").end()
    assert telemetry.provider.force_flush()


def test_own_traces_are_exported_by_the_conventions(db):
    run = db.begin_run("run")
    root = db.traces.record(run, Decision("which?", ["a", "b"], "a", "because"))
    call = db.traces.record_with_options(
        run, ToolCall("w", {"q": [1]}, None, 1500), parent_id=root.id, tags=["t"], metadata={"m": b"x"}
    )
    db.traces.record_child(run, call.id, ErrorTrace("Timeout", "too late"))
    db.traces.record(run, Query("sql", "select", 2))

    request = run_to_otlp(db, run, service_name="harbour")
    found = {span.name: (span, resource) for span, _, _, resource, _ in by_span(parsed(request)).values()}

    assert run_to_otlp(db, run, service_name="harbour") == request, "the same ids every time"
    decide, tool, error, query = (found[name][0] for name in ("decide", "execute_tool w", "Timeout", "retrieval sql"))
    assert (tool.parent_span_id, error.parent_span_id) == (decide.span_id, tool.span_id)
    assert decide.trace_id == tool.trace_id == error.trace_id != query.trace_id
    assert tool.end_time_unix_nano >= call.timestamp * 1000
    assert tool.start_time_unix_nano == call.timestamp * 1000 - 1_500_000_000
    assert decide.start_time_unix_nano == tool.start_time_unix_nano, "a parent encloses its children"
    assert (error.status.code, error.status.message, error.events[0].name) == (2, "too late", "exception")
    attributes = {pair.key: pair.value for pair in tool.attributes}
    assert attributes["gen_ai.conversation.id"].string_value == attributes["inmem.run_id"].string_value == "run"
    assert attributes["gen_ai.tool.call.arguments"].kvlist_value.values[0].key == "q"
    assert attributes["inmem.metadata"].kvlist_value.values[0].value.bytes_value == b"x"
    assert found["decide"][1].attributes[0].value.string_value == "harbour"


def test_own_traces_below_a_span_belong_to_its_trace(db, telemetry):
    telemetry.tracer.start_span("agent", attributes={"gen_ai.conversation.id": "c"}).end()
    [root] = db.traces.roots("c")
    thought = db.traces.record_child("c", root.id, Thought("hm"))
    found = by_span(parsed(run_to_otlp(db, "c")))
    [agent] = encode_spans(telemetry.spans).resource_spans[0].scope_spans[0].spans
    assert found[agent.span_id][0] == agent
    [(own, _, _, resource, _)] = [each for each in found.values() if each[0].name == "think"]
    assert (own.trace_id, own.parent_span_id) == (agent.trace_id, agent.span_id)
    assert own.end_time_unix_nano == thought.timestamp * 1000
    assert resource == found[agent.span_id][3]


RESOURCES = {
    "mine": Resource({"service.name": "mine", "instance": 1}),
    "like mine": Resource({"service.name": "mine", "instance": True}),
    "other": Resource({"service.name": "other"}, schema_url="https://example.org/r"),
    "none": Resource.get_empty(),
}


class TestResources:
    """A span comes back with its own resource, whatever resource the span above it has."""

    @staticmethod
    def trace(telemetry, names, *, late):
        """End spans one below the other, each of the resource of its name; children before or after their parents."""
        spans = []
        for name in names:
            provider = TracerProvider(resource=RESOURCES[name], shutdown_on_exit=False)
            provider.add_span_processor(SimpleSpanProcessor(telemetry.exporter))
            provider.add_span_processor(SimpleSpanProcessor(telemetry.memory))
            above = otel.set_span_in_context(spans[-1]) if spans else None
            spans.append(provider.get_tracer("t").start_span(name, above))
        for span in spans if late else reversed(spans):
            span.end()
        return [span_id(span) for span in spans]

    @pytest.mark.parametrize("late", [False, True])
    @pytest.mark.parametrize("names", list(itertools.product(RESOURCES, repeat=3)), ids="/".join)
    def test_each_span_comes_back_with_its_own(self, db, telemetry, names, late):
        ids = self.trace(telemetry, names, late=late)
        assert by_span(parsed(run_to_otlp(db, "opentelemetry"))) == by_span(encode_spans(telemetry.spans))
        kept = ["resource" in db.traces.get("opentelemetry", each).metadata["otel"] for each in ids]
        assert kept == [name != above for above, name in itertools.pairwise(("none", *names))]

    @pytest.mark.parametrize("name", RESOURCES)
    def test_so_does_one_below_a_trace_of_the_application_s(self, db, telemetry, name):
        parent = SpanContext(1, 2, is_remote=False, trace_flags=otel.TraceFlags(otel.TraceFlags.SAMPLED))
        db.traces.record_with_options("c", Thought("hm"), id=otel.format_span_id(parent.span_id))
        provider = TracerProvider(resource=RESOURCES[name], shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(telemetry.exporter))
        above = otel.set_span_in_context(otel.NonRecordingSpan(parent))
        span = provider.get_tracer("t").start_span("s", above, attributes={"gen_ai.conversation.id": "c"})
        span.end()
        assert trees(db, "c")[span_id(span)] == otel.format_span_id(parent.span_id)
        found = by_span(parsed(run_to_otlp(db, "c")))
        [encoded] = by_span(encode_spans([span])).items()
        assert found[encoded[0]][3:] == encoded[1][3:]

    def test_what_there_was_no_room_for_is_taken_from_above(self):
        with inmem.open(":memory:", limits=inmem.Limits(value_bytes_max=1000)) as db:
            telemetry = Telemetry(db, resource={"service.name": "x" * 500})
            with telemetry.tracer.start_as_current_span("root"):
                telemetry.tracer.start_span("n" * 600).end()
            [root] = db.traces.roots("opentelemetry")
            [child] = db.traces.get_children("opentelemetry", root.id)
            assert "refused" in child.metadata["otel"]
            assert "resource" not in child.metadata["otel"]
            telemetry.provider.shutdown()

    def test_below_a_span_that_had_no_room_for_it_it_is_kept(self):
        with inmem.open(":memory:", limits=inmem.Limits(value_bytes_max=1000)) as db:
            memory = InMemorySpanExporter()
            provider = TracerProvider(resource=Resource({"service.name": "x" * 400}), shutdown_on_exit=False)
            provider.add_span_processor(SimpleSpanProcessor(memory))
            tracer = provider.get_tracer("agent")
            with tracer.start_as_current_span("n" * 700):
                tracer.start_span("inner").end()
            # In one transaction.
            InmemSpanExporter(db).export(memory.get_finished_spans())
            [root] = db.traces.roots("opentelemetry")
            [child] = db.traces.get_children("opentelemetry", root.id)
            assert "resource" in child.metadata["otel"]
            assert child.metadata["otel"]["resource"]["attributes"] == {"service.name": "x" * 400}


def test_a_run_without_traces(db):
    assert run_to_otlp(db, "nothing") == {"resourceSpans": []}
