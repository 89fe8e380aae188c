"""The mapping between spans and traces by the GenAI semantic conventions, all of which still have "development" status.

Written against https://github.com/open-telemetry/semantic-conventions-genai as of 2026. The older names `db.system` and
`db.statement` are also understood, as they decide the kind of a span.

    span                                        trace
    execute_tool                                ToolCall
    retrieval, search_memory                    Query
    db.system.name                              Query
    inference that calls tools                  Decision: which of the tools
    inference or plan with text                 Thought
    all else                                    Custom, with the span's name
    an exception event, or the status "error"   an ErrorTrace below the span's own trace
"""

from __future__ import annotations

import json
from typing import Any, Final

from inmem.json_values import is_list, is_object
from inmem.otlp.spans import STATUS_ERROR, SpanRecord
from inmem.otlp.storable import is_storable, storable_value
from inmem.primitives.trace_kinds import Custom, Decision, ErrorTrace, Kind, Query, Thought, ToolCall

RUN_ID: Final = "inmem.run_id"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
OPERATION: Final = "gen_ai.operation.name"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
DATA_SOURCE: Final = "gen_ai.data_source.id"
QUERY_TEXT: Final = "gen_ai.retrieval.query.text"
RETRIEVED_DOCUMENTS: Final = "gen_ai.retrieval.documents"
MEMORY_QUERY_TEXT: Final = "gen_ai.memory.query.text"
MEMORY_STORE: Final = "gen_ai.memory.store.id"
MEMORY_COUNT: Final = "gen_ai.memory.record.count"
ERROR_TYPE: Final = "error.type"
EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
OTHER_ERROR: Final = "_OTHER"

_DATABASE: Final = ("db.system.name", "db.system")
_DATABASE_QUERY: Final = ("db.query.text", "db.statement")
_ROWS: Final = "db.response.returned_rows"
DECIDING: Final = (
    RUN_ID, CONVERSATION_ID, OPERATION, TOOL_NAME, DATA_SOURCE, MEMORY_STORE, *_DATABASE, ERROR_TYPE,
)  # fmt: skip
"""The attributes that decide the run of a span and the kind of its step."""

# Tuples, not sets: the values looked up in them may be unhashable.
_SPEAKING: Final = ("chat", "generate_content", "text_completion", "plan")
_TEXT_PARTS: Final = ("text", "reasoning")


def kind_of(span: SpanRecord) -> Kind:
    """Return the kind of step that a span describes, whatever the types of its attributes. O(size of the attributes).

    JSON in attributes is parsed; the result can be stored if the attributes can.
    """
    attributes = span.get("attributes", {})
    operation = attributes.get(OPERATION)
    if operation == "execute_tool":
        name = _text(attributes, TOOL_NAME) or span["name"].removeprefix("execute_tool ")
        return ToolCall(
            name, _content(attributes.get(TOOL_ARGUMENTS)), _content(attributes.get(TOOL_RESULT)), duration_ms(span)
        )
    if operation == "retrieval":
        found = _parsed(attributes.get(RETRIEVED_DOCUMENTS))
        source = _text(attributes, DATA_SOURCE) or operation
        return Query(source, attributes.get(QUERY_TEXT), len(found) if is_list(found) else None)
    if operation == "search_memory":
        source = _text(attributes, MEMORY_STORE) or operation
        return Query(source, attributes.get(MEMORY_QUERY_TEXT), _count(attributes, MEMORY_COUNT))
    if operation in _SPEAKING:
        return _spoken(span)
    database = _text(attributes, *_DATABASE)
    if database:
        return Query(database, _text(attributes, *_DATABASE_QUERY), _count(attributes, _ROWS))
    return Custom(span["name"])


def errors_of(span: SpanRecord) -> list[ErrorTrace]:
    """Return the errors of a span; they are recoverable unless the span's status is "error"."""
    status = span.get("status", {})
    is_fatal = status.get("code") == STATUS_ERROR
    found = [
        ErrorTrace(
            _text(event.get("attributes", {}), EXCEPTION_TYPE) or OTHER_ERROR,
            _text(event.get("attributes", {}), EXCEPTION_MESSAGE),
            recoverable=not is_fatal,
        )
        for event in span.get("events", [])
        if event["name"] == EXCEPTION_EVENT
    ]
    if is_fatal and not found:
        found.append(
            ErrorTrace(_text(span.get("attributes", {}), ERROR_TYPE) or OTHER_ERROR, status.get("message", ""))
        )
    return found


def run_named_by(span: SpanRecord) -> str | None:
    """Return the run that a span itself names, or None."""
    places = span.get("attributes", {}), span.get("resource", {}).get("attributes", {})
    return _text(places[0], RUN_ID) or _text(places[1], RUN_ID) or _text(places[0], CONVERSATION_ID) or None


def duration_ms(span: SpanRecord) -> float:
    """Return the duration of a span in milliseconds; 0 if a clock step made it end before its start."""
    return max(0, span["end_time_unix_nano"] - span["start_time_unix_nano"]) / 1e6


def attributes_of(kind: Kind) -> dict[str, Any]:
    """Return the attributes that describe a step by the conventions, with names of our own where there are none."""
    match kind:
        case ToolCall(tool_name, arguments, result):
            told = {TOOL_NAME: tool_name, TOOL_ARGUMENTS: arguments, TOOL_RESULT: result}
            return {OPERATION: "execute_tool", **_without_none(told)}
        case Query(query_type, query, results_count):
            text = query if isinstance(query, str) else None
            told = {DATA_SOURCE: query_type, QUERY_TEXT: text, "inmem.query.results_count": results_count}
            more = {} if text is not None else {"inmem.query": query}
            return {OPERATION: "retrieval", **_without_none(told | more)}
        case Thought(content, confidence):
            said = {"role": "assistant", "parts": [{"type": "reasoning", "content": content}], "finish_reason": "stop"}
            told = {OUTPUT_MESSAGES: [said], "inmem.thought.confidence": confidence}
            return {OPERATION: "think", **_without_none(told)}
        case Decision(question, options, chosen, reasoning):
            told = {"question": question, "options": options, "chosen": chosen, "reasoning": reasoning}
            return {OPERATION: "decide", **_without_none({f"inmem.decision.{name}": told[name] for name in told})}
        case ErrorTrace(error_type):
            return {ERROR_TYPE: error_type}
        case Custom(_, data):
            return _without_none({"inmem.custom.data": data})


def name_of(kind: Kind) -> str:
    """Return the name of the span that describes a step."""
    match kind:
        case ToolCall(tool_name):
            return f"execute_tool {tool_name}"
        case Query(query_type):
            return f"retrieval {query_type}"
        case Thought():
            return "think"
        case Decision():
            return "decide"
        case ErrorTrace(error_type):
            return error_type
        case Custom(name):
            return name


def _spoken(span: SpanRecord) -> Kind:
    """Return the kind of a model's answer: a choice among tools, a thought, or custom if no content was kept."""
    attributes = span.get("attributes", {})
    parts = _parts(attributes.get(OUTPUT_MESSAGES))
    text = "\n".join(part["content"] for part in parts if part.get("type") in _TEXT_PARTS and _has_text(part))
    called = [part["name"] for part in parts if part.get("type") == "tool_call" and type(part.get("name")) is str]
    if called:
        defined = _parsed(attributes.get(TOOL_DEFINITIONS))
        offered = [each["name"] for each in _objects(defined) if type(each.get("name")) is str]
        asked = [part["content"] for part in _parts(attributes.get(INPUT_MESSAGES)) if _has_text(part)]
        question = asked[-1] if asked else span["name"]
        return Decision(question, offered or called, called[0] if len(called) == 1 else called, text or None)
    return Thought(text) if text else Custom(span["name"])


def _parts(messages: Any) -> list[dict[str, Any]]:
    """Return the parts of all messages, whether those are structured or a JSON string."""
    return [part for message in _objects(_parsed(messages)) for part in _objects(message.get("parts"))]


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if is_object(each)] if is_list(value) else []


def _has_text(part: dict[str, Any]) -> bool:
    return type(part.get("content")) is str


def _parsed(value: Any) -> Any:
    """Return the value of an attribute that may be a JSON string, as not all attributes can be structured.

    Parsed lone surrogates and integers beyond 64 bits, which cannot be stored, become text as in other attributes.
    """
    if type(value) is not str or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return storable_value(json.loads(value))
    except (ValueError, RecursionError):
        return value


def _content(value: Any) -> Any:
    """Return the parsed value, or the JSON string itself if the parsed value is too large or too deep to store."""
    parsed = _parsed(value)
    return parsed if parsed is value or is_storable(parsed) else value


def _text(attributes: dict[str, Any], *names: str) -> str:
    for name in names:
        value: Any = attributes.get(name)
        if type(value) is str:
            return value
    return ""


def _count(attributes: dict[str, Any], name: str) -> int | None:
    value: Any = attributes.get(name)
    return value if type(value) is int and value >= 0 else None


def _without_none(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact is not None}
