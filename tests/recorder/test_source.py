"""Reading transcript files: what is a conversation in each format, and what its run is called."""

import contextlib
import json
import os
from pathlib import Path

import pytest

from inmem.recorder import TranscriptError, read_conversations
from tests.recorder.transcripts import OWN, assistant, real_transcripts, tool, user, write_runs


def read(path, text):
    path.write_text(text, encoding="utf-8")
    return list(read_conversations(path))


def counts(path):
    conversations = list(read_conversations(path))
    messages = sum(len(conversation.messages) for conversation in conversations)
    return len(conversations), messages, sum(conversation.call_count for conversation in conversations)


MESSAGES = [user("what time is it?"), assistant(None, ("c1", "clock", {})), tool("c1", "noon"), assistant("noon")]


@pytest.mark.parametrize(
    ("text", "format_name"),
    [
        (json.dumps([{"traj": MESSAGES}]), "chat-runs"),
        (json.dumps([{"messages": MESSAGES}], indent=2), "chat-runs"),
        (json.dumps({"messages": MESSAGES}), "chat-runs"),
        (json.dumps({"messages": MESSAGES}, indent=2), "chat-runs"),
        (json.dumps(MESSAGES), "chat-messages"),
        ("\n".join(map(json.dumps, MESSAGES)), "chat-messages"),
        ("\n\r\n".join(map(json.dumps, MESSAGES)) + "\n\n", "chat-messages"),
        ("\n" + json.dumps({"messages": MESSAGES}) + "\n", "chat-runs"),
        ("\ufeff" + json.dumps([{"traj": MESSAGES}]), "chat-runs"),
    ],
)
def test_the_content_decides_the_format(tmp_path, text, format_name):
    (conversation,) = read(tmp_path / "any.name", text)

    assert conversation.metadata["format"] == format_name
    assert [message.role for message in conversation.messages] == ["user", "assistant", "tool", "assistant"]
    assert [message.text for message in conversation.messages] == ["what time is it?", "", "noon", "noon"]
    assert conversation.call_count == 1


def test_a_conversation_per_line(tmp_path):
    lines = [json.dumps({"id": name, "messages": [user(name)]}) for name in ("first", "second")]

    first, second = read(tmp_path / "chats.jsonl", "\n".join(lines))

    assert first.run_id.startswith("chats/0000-first-")
    assert second.run_id.startswith("chats/0001-second-")


def test_an_empty_list_holds_no_conversations(tmp_path):
    assert read(tmp_path / "none.json", " [ ] ") == []


def test_a_conversation_may_have_no_messages(tmp_path):
    (conversation,) = read(tmp_path / "silent.json", '[{"messages": []}]')

    assert conversation.messages == ()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({}, None),
        ({"reward": 1.0}, None),
        ({"reward": 0.5}, None),
        ({"reward": 0.0}, "the task was not solved: reward 0"),
        ({"reward": 0}, "the task was not solved: reward 0"),
        ({"error": "the agent gave up", "reward": 1}, "the agent gave up"),
        ({"error": ""}, None),
        ({"error": "", "reward": 0}, "the task was not solved: reward 0"),
    ],
)
def test_the_outcome_of_a_conversation(tmp_path, more, error):
    (conversation,) = read_conversations(write_runs(tmp_path / "runs.json", {"messages": MESSAGES} | more))

    assert conversation.error == error


def test_tags_and_metadata_of_a_run(tmp_path):
    path = write_runs(
        tmp_path / "air.json", {"task_id": 3, "trial": 0, "agent": "ada", "reward": 1.0, "traj": MESSAGES}
    )

    (conversation,) = read_conversations(path)

    assert conversation.tags == ("chat-runs", "task-3", "agent-ada")
    assert conversation.metadata == {
        "source": "air.json",
        "format": "chat-runs",
        "task_id": 3,
        "trial": 0,
        "agent": "ada",
        "reward": 1.0,
        "messages": 4,
        "tool_calls": 1,
    }
    assert conversation.run_id.startswith("air/0000-task-3-trial-0-")


def test_a_run_id_depends_on_the_content_and_not_on_the_folder(tmp_path):
    def run_ids(folder, *conversations):
        (tmp_path / folder).mkdir()
        path = write_runs(tmp_path / folder / "runs.json", *conversations)
        return [conversation.run_id for conversation in read_conversations(path)]

    first = run_ids("a", MESSAGES, MESSAGES, [user("other")])
    same = run_ids("b", MESSAGES, MESSAGES, [user("other")])
    longer = run_ids("c", MESSAGES, MESSAGES, [user("other")], [user("more")])
    different = run_ids("d", [user("this")], MESSAGES)

    assert first == same == longer[:3]
    assert len({*first, *longer, *different}) == 5


def test_runs_of_a_pipe_are_not_named_after_its_descriptor():
    def read_from_pipe():
        read_end, write_end = os.pipe()
        os.write(write_end, json.dumps(MESSAGES).encode())
        os.close(write_end)
        with contextlib.closing(os.fdopen(read_end)):
            (conversation,) = read_conversations(f"/dev/fd/{read_end}")
        return read_end, conversation

    first_descriptor, first = read_from_pipe()
    with Path(os.devnull).open():  # takes the number
        descriptor, again = read_from_pipe()

    assert descriptor != first_descriptor
    assert first.run_id == again.run_id
    assert first.run_id.startswith("stream/0000-")
    assert first.metadata["source"] == "stream"


def test_a_run_id_is_one_whatever_the_names(tmp_path):
    path = write_runs(tmp_path / ("é" * 30 + "\n" + "x" * 150 + ".json"), {"task_id": "🚢" * 300, "messages": MESSAGES})

    (conversation,) = read_conversations(path)

    assert conversation.run_id.isascii()
    assert conversation.run_id.isprintable()
    assert len(conversation.run_id) <= 255


def test_conversations_come_before_the_file_has_been_understood_to_its_end(tmp_path):
    path = write_runs(tmp_path / "runs.json", MESSAGES, [user("more")])
    path.write_text(path.read_text("utf-8")[:-1] + ", oops]", encoding="utf-8")

    found = read_conversations(path)

    assert len(next(found).messages) == 4
    assert len(next(found).messages) == 1
    with pytest.raises(TranscriptError, match=r"runs.json: line 1, column \d+: not JSON: Expecting value"):
        next(found)


def test_a_missing_file_and_a_folder_are_errors(tmp_path):
    with pytest.raises(TranscriptError, match=r"no.json: cannot be read: No such file or directory"):
        list(read_conversations(tmp_path / "no.json"))
    with pytest.raises(TranscriptError, match=r"cannot be read: Is a directory"):
        list(read_conversations(tmp_path))


def test_the_transcripts_of_the_package():
    assert {path.name: counts(path) for path in OWN} == {
        "harbour-desk.json": (3, 38, 10),
        "lamp-controller.traj": (1, 14, 6),
        "night-watch.jsonl": (3, 38, 15),
    }


def test_counts_of_real_transcripts_are_those_of_the_plain_json():
    for path in real_transcripts():
        data = json.loads(Path(path).read_text("utf-8"))
        if isinstance(data, list):
            messages = [message for run in data for message in run["traj"]]
            calls = sum(len(message.get("tool_calls") or ()) for message in messages)
            assert counts(path) == (len(data), len(messages), calls)
        else:
            prompts = [entry["role"] for entry in data["history"]].index("assistant")
            steps = len(data["trajectory"])
            assert counts(path) == (1, prompts + 2 * steps, steps)
