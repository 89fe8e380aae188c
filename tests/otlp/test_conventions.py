"""What a span was, and how a step is told: the tables of docs/integrations/opentelemetry.md."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem import Custom, Decision, ErrorTrace, Query, Thought, ToolCall
from inmem.engine.limits import VALUE_BYTES_MAX
from inmem.otlp import conventions
from inmem.otlp.conventions import attributes_of, errors_of, kind_of, name_of, run_named_by
from inmem.otlp.spans import STATUS_ERROR
from inmem.otlp.storable import storable_attributes
from inmem.primitives.trace_kinds import pack_kind


def span(attributes=None, name="span", **more):
    times = {"start_time_unix_nano": 1_000_000_000, "end_time_unix_nano": 1_002_500_000}
    return {"name": name, "attributes": attributes or {}, **times, **more}


def operation(name, **attributes):
    return {"gen_ai.operation.name": name, **{key.replace("__", "."): value for key, value in attributes.items()}}


def message(*parts, role="assistant"):
    return {"role": role, "parts": list(parts), "finish_reason": "stop"}


TEXT = {"type": "text", "content": "Rain."}
REASONING = {"type": "reasoning", "content": "Look at the sky."}
CALL = {"type": "tool_call", "id": "1", "name": "weather", "arguments": {"city": "Oslo"}}
QUESTION = message({"type": "text", "content": "Umbrella?"}, role="user")


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        (
            operation(
                "execute_tool",
                gen_ai__tool__name="weather",
                gen_ai__tool__call__arguments='{"city": "Oslo"}',
                gen_ai__tool__call__result="sunny",
            ),
            ToolCall("weather", {"city": "Oslo"}, "sunny", 2.5),
        ),
        (operation("execute_tool", gen_ai__tool__call__arguments={"a": [1]}), ToolCall("span", {"a": [1]}, None, 2.5)),
        (operation("execute_tool", gen_ai__tool__call__arguments="{no JSON"), ToolCall("span", "{no JSON", None, 2.5)),
        (
            operation(
                "retrieval",
                gen_ai__data_source__id="handbook",
                gen_ai__retrieval__query__text="leave",
                gen_ai__retrieval__documents='[{"id": "1", "score": 0.5}]',
            ),
            Query("handbook", "leave", 1),
        ),
        (operation("retrieval"), Query("retrieval", None, None)),
        (
            operation("search_memory", gen_ai__memory__query__text="diet", gen_ai__memory__record__count=3),
            Query("search_memory", "diet", 3),
        ),
        ({"db.system.name": "postgresql", "db.query.text": "SELECT 1", "db.response.returned_rows": 1},
         Query("postgresql", "SELECT 1", 1)),
        ({"db.system": "redis", "db.statement": "GET a", "db.response.returned_rows": -1}, Query("redis", "GET a")),
        (operation("chat", gen_ai__output__messages=json.dumps([message(TEXT)])), Thought("Rain.")),
        (operation("plan", gen_ai__output__messages=[message(REASONING, TEXT)]), Thought("Look at the sky.\nRain.")),
        (
            operation(
                "chat",
                gen_ai__input__messages=[QUESTION],
                gen_ai__output__messages=[message(REASONING, CALL)],
                gen_ai__tool__definitions=[{"type": "function", "name": "weather"}, {"name": "clock"}],
            ),
            Decision("Umbrella?", ["weather", "clock"], "weather", "Look at the sky."),
        ),
        (
            operation("chat", gen_ai__output__messages=[message(CALL, CALL)]),
            Decision("span", ["weather", "weather"], ["weather", "weather"]),
        ),
        (operation("chat"), Custom("span")),
        (operation("chat", gen_ai__output__messages="[1, {\"parts\": [{}, 2]}]"), Custom("span")),
        (operation("chat", gen_ai__output__messages="[" * 100_000), Custom("span")),
        (operation("embeddings"), Custom("span")),
        (operation("invoke_agent"), Custom("span")),
        (operation(7), Custom("span")),
        (operation(["chat", "plan"]), Custom("span")),
        (
            operation("chat", gen_ai__output__messages=[message({"type": ["text"], "content": "x"}, TEXT)]),
            Thought("Rain."),
        ),
        ({}, Custom("span")),
    ],
)  # fmt: skip
def test_what_a_span_was(attributes, kind):
    assert kind_of(span(attributes)) == kind


DEEP = "[" * 65 + "]" * 65


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f'{{"n": {2**63}}}', {"n": str(2**63)}),
        (f"[{-(2**63)}]", [-(2**63)]),
        ('{"\\ud800": "a\\udfffb"}', {"\\ud800": "a\\udfffb"}),
        (f"[{'9' * 5000}]", f"[{'9' * 5000}]"),
        (DEEP, DEEP),
        (DEEP[1:-1], json.loads(DEEP[1:-1])),
        ("[" * 900 + "]" * 900, "[" * 900 + "]" * 900),
    ],
    ids=["integer", "least integer", "surrogates", "digits", "too deep", "deepest", "far too deep"],
)
def test_the_json_of_a_tool_call_is_kept_in_a_form_that_can_be_stored(text, kept):
    call = kind_of(span(operation("execute_tool", gen_ai__tool__call__arguments=text, gen_ai__tool__call__result=text)))
    assert (call.arguments, call.result) == (kept, kept)
    pack_kind(call)


@pytest.mark.unmeasured
def test_json_that_is_too_large_once_parsed_stays_json():
    text = f"[{','.join(['0.0'] * 2_000_000)}]"
    assert len(text) < 8_100_000 < VALUE_BYTES_MAX < 9 * 2_000_000
    assert kind_of(span(operation("execute_tool", gen_ai__tool__call__arguments=text))).arguments == text


def test_what_a_model_says_with_surrogates_is_a_thought():
    said = '[{"parts": [{"type": "text", "content": "\\ud800"}]}]'
    thought = kind_of(span(operation("chat", gen_ai__output__messages=said)))
    # As ASCII: a failure that shows a lone surrogate could not be printed.
    assert ascii(thought) == ascii(Thought("\\ud800"))


NAMES = [value for name, value in vars(conventions).items() if name.isupper() and type(value) is str and "." in value]
OPERATIONS = ["execute_tool", "retrieval", "search_memory", "chat", "plan"]
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=2)
    | st.sampled_from([*OPERATIONS, "text", "tool_call", "type", "parts", "content", "name"])
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "parts", "content", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
given_values = values | values.map(lambda value: json.dumps(value, default=str))


@given(
    st.sampled_from(OPERATIONS) | given_values,
    st.dictionaries(st.sampled_from([*NAMES, "db.system", "db.statement", "db.response.returned_rows"]), given_values),
    st.sampled_from([0, 1, STATUS_ERROR]),
)
def test_attributes_of_any_type_are_understood_as_something_that_can_be_stored(name, attributes, code):
    told = storable_attributes(attributes | operation(name))
    event = {"name": "exception", "time_unix_nano": 1, "attributes": told}
    record = span(told, status={"code": code}, events=[event], resource={"attributes": told})
    for kind in (kind_of(record), *errors_of(record)):
        pack_kind(kind)
    assert type(run_named_by(record)) in (str, type(None))


def test_a_tool_is_named_by_its_span_at_need():
    assert kind_of(span(operation("execute_tool"), name="execute_tool clock")).tool_name == "clock"


def test_a_span_that_ends_before_it_begins_took_no_time():
    assert kind_of(span(operation("execute_tool"), end_time_unix_nano=0)).duration_ms == 0


def exception(**attributes):
    return {"name": "exception", "time_unix_nano": 1, "attributes": attributes}


@pytest.mark.parametrize(
    ("more", "errors"),
    [
        ({}, []),
        ({"status": {"code": 1}}, []),
        ({"status": {"code": STATUS_ERROR, "message": "late"}}, [ErrorTrace("_OTHER", "late")]),
        ({"status": {"code": STATUS_ERROR}, "attributes": {"error.type": "timeout"}}, [ErrorTrace("timeout", "")]),
        (
            {"events": [exception(**{"exception.type": "KeyError", "exception.message": "'x'"})]},
            [ErrorTrace("KeyError", "'x'", recoverable=True)],
        ),
        (
            {"events": [exception(), {"name": "else", "time_unix_nano": 1}], "status": {"code": STATUS_ERROR}},
            [ErrorTrace("_OTHER", "", recoverable=False)],
        ),
    ],
)
def test_what_went_wrong(more, errors):
    assert errors_of(span(**more)) == errors


@pytest.mark.parametrize(
    ("attributes", "resource", "run"),
    [
        ({}, {}, None),
        ({"gen_ai.conversation.id": "c"}, {}, "c"),
        ({"gen_ai.conversation.id": "c"}, {"inmem.run_id": "r"}, "r"),
        ({"inmem.run_id": "s", "gen_ai.conversation.id": "c"}, {"inmem.run_id": "r"}, "s"),
        ({"inmem.run_id": 1, "gen_ai.conversation.id": ""}, {}, None),
    ],
)
def test_which_run_a_span_names(attributes, resource, run):
    assert run_named_by(span(attributes, resource={"attributes": resource})) == run


@pytest.mark.parametrize(
    ("kind", "name", "attributes"),
    [
        (
            ToolCall("weather", {"city": "Oslo"}, ["rain"], 3),
            "execute_tool weather",
            operation(
                "execute_tool",
                gen_ai__tool__name="weather",
                gen_ai__tool__call__arguments={"city": "Oslo"},
                gen_ai__tool__call__result=["rain"],
            ),
        ),
        (
            Query("handbook", "leave", 2),
            "retrieval handbook",
            operation(
                "retrieval",
                gen_ai__data_source__id="handbook",
                gen_ai__retrieval__query__text="leave",
                inmem__query__results_count=2,
            ),
        ),
        (
            Query("sql", {"table": "t"}),
            "retrieval sql",
            operation("retrieval", gen_ai__data_source__id="sql", inmem__query={"table": "t"}),
        ),
        (
            Thought("hm", 0.5),
            "think",
            operation(
                "think",
                gen_ai__output__messages=[message({"type": "reasoning", "content": "hm"})],
                inmem__thought__confidence=0.5,
            ),
        ),
        (
            Decision("which?", ["a", "b"], "a"),
            "decide",
            operation(
                "decide",
                inmem__decision__question="which?",
                inmem__decision__options=["a", "b"],
                inmem__decision__chosen="a",
            ),
        ),
        (ErrorTrace("Timeout", "late"), "Timeout", {"error.type": "Timeout"}),
        (Custom("note", [1]), "note", {"inmem.custom.data": [1]}),
    ],
)
def test_how_a_step_is_told(kind, name, attributes):
    assert (name_of(kind), attributes_of(kind)) == (name, attributes)
