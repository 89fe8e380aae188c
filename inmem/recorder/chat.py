"""Chat messages: objects with a "role", as exchanged by the chat APIs of language models.

| role | fields read besides "role" |
|---|---|
| system, developer, user | "content" |
| assistant | "content"; "tool_calls", each with "id" and "function" of "name" and "arguments"; "decision" |
| tool | "content", "tool_call_id", "is_error", "duration_ms" |

"content" is a string, null, or a list of parts, of which only those with a "text" are read. "arguments" is JSON in a
string, or an object. "decision" explains a choice: an object with "question", "options", "chosen" and optionally
"reasoning". "decision" and "duration_ms" are extensions of this recorder, for transcripts with more information. All
other fields are stored but not read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from inmem.engine.codec import Encoded, encode_value
from inmem.json_values import is_list, is_object
from inmem.recorder.place import LIST, OBJECT
from inmem.recorder.transcript import Answer, Call, Choice, Message

if TYPE_CHECKING:
    from inmem.recorder.place import Place

ROLES = ("system", "developer", "user", "assistant", "tool")

_TRACEBACK = "Traceback (most recent call last)"
_TIMED_OUT = "EXECUTION TIMED OUT"


def read_message(value: object, place: Place) -> Message:
    """Return the message in a JSON value.

    Raises:
        TranscriptError: the value is not a message, or a part of it cannot be stored.
    """
    record = place.expect(value, OBJECT)
    role = place.field(record, "role", str)
    if role not in ROLES:
        raise place.error(f'"role" must be one of {", ".join(ROLES)}, not {json.dumps(role)}')
    text = _text_of(record.get("content"), place)
    payload = Encoded(place.encoded(record))
    if role == "assistant":
        return Message(role, payload, text, calls=_calls_of(record, place), choice=_choice_of(record, place))
    if role == "tool":
        return Message(role, payload, text, answer=_answer_of(record, text, place))
    return Message(role, payload, text)


def structured(text: str) -> Any:
    """Return the parsed `text` if it is a JSON object or list that can be stored, otherwise `text` itself."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        value = json.loads(text)
        # Checked two levels deep, as in working memory.
        encode_value([{"": value}])
    except (ValueError, RecursionError):
        return text
    return value


def error_in(result: Any) -> tuple[str, str] | None:
    """Return (type, message) if a tool's result looks like an error, by common conventions of tools."""
    if is_object(result):
        message = result.get("error")
        return ("ToolError", message) if type(message) is str and message else None
    if type(result) is not str:
        return None
    text = result.strip()
    if text.startswith(_TRACEBACK):
        last_line = text.splitlines()[-1]
        name, colon, message = last_line.partition(": ")
        return (name, message) if colon and " " not in name else ("Exception", last_line)
    if text.startswith(_TIMED_OUT):
        return ("Timeout", text)
    if text[:5].lower() == "error" and not text[5:6].isalnum():
        return ("ToolError", text[5:].lstrip(" :") or text)
    return None


def _text_of(content: object, place: Place) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not is_list(content):
        raise place.error('"content" must be a string, a list of parts, or null')
    texts: list[str] = []
    for index, part in enumerate(content):
        text = place.below(f".content[{index}]").expect(part, OBJECT).get("text")
        if type(text) is str:
            texts.append(text)
    return "\n".join(texts)


def _calls_of(record: dict[str, Any], place: Place) -> tuple[Call, ...]:
    calls: list[object] = place.optional(record, "tool_calls", LIST) or []
    return tuple([_call_of(call, place.below(f".tool_calls[{index}]")) for index, call in enumerate(calls)])


def _call_of(value: object, place: Place) -> Call:
    record = place.expect(value, OBJECT)
    function = place.field(record, "function", OBJECT)
    tool_name = place.field(function, "name", str)
    arguments: Any = function.get("arguments")
    if type(arguments) is str:
        arguments = structured(arguments)
    return Call(place.optional(record, "id", str), tool_name, arguments)


def _choice_of(record: dict[str, Any], place: Place) -> Choice | None:
    decision = place.optional(record, "decision", OBJECT)
    if decision is None:
        return None
    inside = place.below(".decision")
    question = inside.field(decision, "question", str)
    options: list[Any] = inside.field(decision, "options", LIST)
    return Choice(question, options, decision.get("chosen"), inside.optional(decision, "reasoning", str))


def _answer_of(record: dict[str, Any], text: str, place: Place) -> Answer:
    duration_ms = place.optional_number(record, "duration_ms")
    if duration_ms is not None and not duration_ms >= 0:
        raise place.error('"duration_ms" must be at least 0')
    result = structured(text)
    error = error_in(result)
    if place.optional(record, "is_error", bool):
        error = error or ("ToolError", text)
    return Answer(place.optional(record, "tool_call_id", str), result, error, duration_ms)
