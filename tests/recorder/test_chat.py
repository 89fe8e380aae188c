"""What is read from a chat message beside its role."""

import json

import pytest

from inmem.engine.codec import decode_value
from inmem.recorder.chat import error_in, read_message, structured
from inmem.recorder.place import Place
from inmem.recorder.transcript import Answer, Call, Choice
from tests.recorder.transcripts import assistant, tool

HERE = Place("runs.json", "item 0")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("hello", "hello"),
        ([], ""),
        ([{"type": "text", "text": "see"}, {"type": "image_url"}, {"type": "text", "text": "this"}], "see\nthis"),
    ],
)
def test_the_text_of_a_message(content, text):
    assert read_message({"role": "user", "content": content}, HERE).text == text


def test_the_payload_is_the_whole_message():
    record = {"role": "user", "content": "hi", "name": "ada", "extra": [1, {"x": None}]}

    assert decode_value(read_message(record, HERE).payload.data) == record


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ('{"a": 1}', {"a": 1}),
        ("[1]", [1]),
        ('{"a": ', '{"a": '),
        ("plain text", "plain text"),
        ("", ""),
        ('{"a": 99999999999999999999}', '{"a": 99999999999999999999}'),
        ("[" * 100 + "]" * 100, "[" * 100 + "]" * 100),
        ("[" * 100_000, "[" * 100_000),
        ({"a": 1}, {"a": 1}),
        (None, None),
    ],
)
def test_arguments_are_read_where_they_are_json(arguments, kept):
    message = assistant(tool_calls=[{"id": "c1", "function": {"name": "f", "arguments": arguments}}])

    assert read_message(message, HERE).calls == (Call("c1", "f", kept),)


def test_only_an_assistant_calls_tools():
    assert read_message({**assistant(None, ("c1", "f", {})), "role": "user"}, HERE).calls == ()


def test_a_decision():
    message = assistant("well", decision={"question": "tea?", "options": ["yes", "no"], "chosen": "yes"})

    assert read_message(message, HERE).choice == Choice("tea?", ["yes", "no"], "yes", None)


def test_an_answer():
    assert read_message(tool("c1", '{"a": 1}', duration_ms=5), HERE).answer == Answer("c1", {"a": 1}, None, 5)
    assert read_message({"role": "tool"}, HERE).answer == Answer(None, "", None, None)
    failed = read_message(tool("c1", "no such file", is_error=True), HERE).answer
    assert failed == Answer("c1", "no such file", ("ToolError", "no such file"), None)


@pytest.mark.parametrize(
    ("result", "error"),
    [
        ("Error: no seats", ("ToolError", "no seats")),
        (" error - no seats", ("ToolError", "- no seats")),
        ("ERROR", ("ToolError", "ERROR")),
        ("Errors are human", None),
        ("no error", None),
        ("", None),
        ("\nEXECUTION TIMED OUT", ("Timeout", "EXECUTION TIMED OUT")),
        ('Traceback (most recent call last):\n  ...\nKeyError: "a"', ("KeyError", '"a"')),
        ("Traceback (most recent call last):\n  ...\nKeyboardInterrupt", ("Exception", "KeyboardInterrupt")),
        ({"error": "no seats"}, ("ToolError", "no seats")),
        ({"error": None, "seats": 4}, None),
        ({"error": ""}, None),
        (["Error"], None),
        (None, None),
    ],
)
def test_results_that_tell_of_an_error(result, error):
    assert error_in(result) == error


def test_text_that_is_no_object_or_list_stays_text():
    assert [structured(text) for text in ("5", "null", '"x"', "true", " {} ")] == ["5", "null", '"x"', "true", {}]
    assert structured(json.dumps({"a": [1.5]})) == {"a": [1.5]}
