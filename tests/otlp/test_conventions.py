"""What a span was, and how a step is told: the tables of docs/integrations/opentelemetry.md."""

import json

import pytest

from inmem import Custom, Decision, ErrorTrace, Query, Thought, ToolCall
from inmem.otlp.conventions import attributes_of, errors_of, kind_of, name_of, run_named_by
from inmem.otlp.spans import STATUS_ERROR


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
        ({}, Custom("span")),
    ],
)  # fmt: skip
def test_what_a_span_was(attributes, kind):
    assert kind_of(span(attributes)) == kind


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
