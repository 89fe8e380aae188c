"""Malformed transcripts: always one line that names the file and the place, whatever is in them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.recorder import TranscriptError, read_conversations
from tests.recorder.transcripts import OWN, assistant, user

FINE = user("hello")


def error_of(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    with pytest.raises(TranscriptError) as caught:
        list(read_conversations(path))
    assert caught.value.path == str(path)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        (" \n ", "the file is empty"),
        ("hello", "line 1, column 1: not JSON: Expecting value"),
        ("5", "expected an object, found a number"),
        (b'[{"messages": [\xff]}]', "byte 15: not UTF-8 text"),
        (
            "{}",
            'line 1: neither a message with "role", nor a conversation with "messages" or "traj", nor a "trajectory"',
        ),
        ('[\n {"messages": []},\n {"messages": [}\n]', "line 3, column 16: not JSON: Expecting value"),
        ('[{"messages": []} {"messages": []}]', 'line 1, column 19: expected "," or "]"'),
        ('[{"messages": []}] []', "line 1, column 20: not JSON: more text behind the end"),
        ('{"messages": []}\n{"messages": [}\n', "line 2, column 15: not JSON: Expecting value"),
        ('{"role": "user"}\n\n{"role": "user"\n', "line 3, column 16: not JSON: Expecting ',' delimiter"),
        (b'{"role": "user"}\n{"role": "\xff"}\n', "line 2, byte 10: not UTF-8 text"),
        ("[[]]", "item 0: expected an object, found a list"),
        ("[" * 100_000, "line 1, column 2: nested too deeply"),
        ('[{"messages": [' + "9" * 5000 + "]}]", "line 1, column 2: Exceeds the limit (4300 digits)"),
        ('[{"messages": 5}]', 'item 0: "messages" must be a list, not a number'),
        ('[{"messages": [], "reward": "good"}]', 'item 0: "reward" must be a number, not a string'),
        (
            '{"messages": [], "reward": 1e999, "task_id": 99999999999999999999}',
            'line 1["task_id"]: int does not fit in 64 bits',
        ),
        ('{"messages": [], "reward": -99999999999999999999}', 'line 1: "reward" does not fit in 64 bits'),
        ('{"trajectory": 1}', '"trajectory" must be a list, not a number'),
        ('{"trajectory": [{}, 1]}', "trajectory[1]: expected an object, found a number"),
        ('{"trajectory": [{"execution_time": "soon"}]}', 'trajectory[0]: "execution_time" must be a number of seconds'),
        ('{"trajectory": [{"execution_time": -1}]}', 'trajectory[0]: "execution_time" must be at least 0'),
        ('{"trajectory": [], "history": [{"role": "cook"}]}', 'history[0]: "role" must be one of'),
        ('{"trajectory": [], "history": [{}]}', 'history[0]: "role" is missing'),
        ('[{"messages": [], "error": "\\ud800"}]', 'item 0["error"]: str has a lone surrogate'),
        ('{"trajectory": [], "info": {"exit_status": "\\ud800"}}', 'info["exit_status"]: str has a lone surrogate'),
        ('{"trajectory": [], "info": {"exit_status": 5}}', 'info: "exit_status" must be a string, not a number'),
    ],
)
def test_a_malformed_file_is_one_line_with_the_place(tmp_path, content, message):
    assert error_of(tmp_path / "file.json", content).startswith(message)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({}, '"role" is missing'),
        ([], "expected an object, found a list"),
        ({"role": None}, '"role" must be a string, not null'),
        ({"role": "cook"}, '"role" must be one of system, developer, user, assistant, tool, not "cook"'),
        ({"role": "user", "content": 5}, '"content" must be a string, a list of parts, or null'),
        ({"role": "user", "content": "\ud800"}, '["content"]: str has a lone surrogate'),
        ({"role": "user", "seed": 2**64}, '["seed"]: int does not fit in 64 bits'),
        ({"role": "tool", "tool_call_id": 5}, '"tool_call_id" must be a string, not a number'),
        ({"role": "tool", "duration_ms": -1}, '"duration_ms" must be at least 0'),
        ({"role": "tool", "is_error": 1}, '"is_error" must be true or false, not a number'),
        (assistant(tool_calls={}), '"tool_calls" must be a list, not an object'),
        (assistant(tool_calls=[5]), ".tool_calls[0]: expected an object, found a number"),
        (assistant(tool_calls=[{}]), '.tool_calls[0]: "function" is missing'),
        (assistant(tool_calls=[{"function": {}}]), '.tool_calls[0]: "name" is missing'),
        (assistant(decision=True), '"decision" must be an object, not true or false'),
        (assistant(decision={"question": "?"}), '.decision: "options" is missing'),
    ],
)
def test_a_malformed_message_is_named_by_item_and_index(tmp_path, bad, message):
    content = json.dumps([{"traj": []}, {"traj": [FINE, FINE, bad]}])

    found = error_of(tmp_path / "runs.json", content)

    assert found.startswith("item 1, traj[2]")
    assert found.removeprefix("item 1, traj[2]").removeprefix(": ").startswith(message)


def try_to_read(path, content):
    """Read what may be anything: conversations or a TranscriptError, nothing else."""
    path.write_bytes(content)
    found = attempt(path)
    if isinstance(found, TranscriptError):
        assert found.path == str(path)
        assert str(found).startswith(f"{path}: ")
        assert found.reason
        assert len(str(found).splitlines()) == 1
    return found


def attempt(path):
    try:
        return list(read_conversations(path))
    except TranscriptError as error:
        return error


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("malformed") / "file"


@given(content=st.binary(max_size=200))
def test_arbitrary_bytes(scratch, content):
    try_to_read(scratch, content)


@given(data=st.data())
def test_damaged_transcripts(scratch, data):
    content = bytearray(data.draw(st.sampled_from(OWN)).read_bytes())
    start = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, 40))
    content[start : start + length] = data.draw(st.binary(max_size=10))

    try_to_read(scratch, bytes(content))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    [
        "role",
        "content",
        "tool_calls",
        "tool_call_id",
        "function",
        "name",
        "arguments",
        "id",
        "decision",
        "question",
        "options",
        "messages",
        "traj",
        "trajectory",
        "history",
        "info",
        "exit_status",
        "execution_time",
        "thought",
        "action",
        "observation",
        "reward",
        "task_id",
        "error",
    ]
)
transcript_like = st.recursive(
    json_values | st.sampled_from(["user", "assistant", "tool"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(fields, inner, max_size=6),
    max_leaves=20,
)


@given(value=transcript_like)
def test_arbitrary_json_with_the_right_names_in_it(scratch, value):
    try_to_read(scratch, json.dumps(value).encode())


@given(values=st.lists(transcript_like, min_size=1, max_size=4))
def test_arbitrary_json_lines(scratch, values):
    try_to_read(scratch, "\n".join(map(json.dumps, values)).encode())


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_a_transcript_cut_short_is_noticed(scratch, path):
    content = path.read_bytes().rstrip()
    whole = try_to_read(scratch, content)
    for end in range(0, len(content), 211):
        found = try_to_read(scratch, content[:end])
        # Lines cut at a line's end are whole.
        assert isinstance(found, TranscriptError) or len(found) < len(whole)
