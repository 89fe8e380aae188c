"""Trajectories of coding agents: which of their parts are messages."""

import json

import pytest

from inmem.engine.codec import decode_value
from inmem.recorder import read_conversations
from inmem.recorder.transcript import Answer, Call


@pytest.fixture
def read(tmp_path):
    def read(**trajectory):
        path = tmp_path / "agent.traj"
        path.write_text(json.dumps(trajectory), encoding="utf-8")
        (conversation,) = read_conversations(path)
        return conversation

    return read


def test_a_step_is_a_message_of_the_agent_and_one_of_its_tool(read):
    step = {"thought": "look\n", "action": "ls -l\n", "observation": "lamp.py", "execution_time": "0.25", "state": "{}"}

    conversation = read(trajectory=[step], environment="main")

    said, heard = conversation.messages
    assert (said.role, said.text, said.calls) == ("assistant", "look", (Call("0", "ls", {"action": "ls -l\n"}),))
    assert decode_value(said.payload.data) == {"thought": "look\n", "action": "ls -l\n"}
    assert (heard.role, heard.answer) == ("tool", Answer("0", "lamp.py", None, 250.0, (0, 0)))
    assert decode_value(heard.payload.data) == {"observation": "lamp.py", "execution_time": "0.25", "state": "{}"}
    assert conversation.tags == ("trajectory",)
    assert conversation.metadata["environment"] == "main"


@pytest.mark.parametrize("action", [None, "", " \n"])
def test_a_step_without_an_action_calls_no_tool(read, action):
    said, heard = read(trajectory=[{"thought": "hm", "action": action, "observation": "what?"}]).messages

    assert said.calls == ()
    assert heard.text == "what?"


@pytest.mark.parametrize(
    ("seconds", "duration_ms"), [(None, None), (0, 0), (2, 2000), (0.1234567, 123.457), ("3", 3000)]
)
def test_the_time_that_a_tool_took(read, seconds, duration_ms):
    _, heard = read(trajectory=[{"action": "ls", "execution_time": seconds}]).messages

    assert heard.answer.duration_ms == duration_ms


def test_prompts_are_what_the_agent_was_told_before_it_began(read):
    history = [
        {"role": "system", "content": "you are"},
        {"role": "user", "content": "an example", "is_demo": True},
        {"role": "assistant", "content": "done so", "is_demo": True},
        {"role": "user", "content": ["do", "it"]},
        {"role": "assistant", "content": "ls"},
        {"role": "user", "content": "lamp.py"},
    ]

    conversation = read(trajectory=[{"action": "ls", "observation": "lamp.py"}], history=history)

    assert [message.role for message in conversation.messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "tool",
    ]
    assert [message.text for message in conversation.messages[:4]] == ["you are", "an example", "done so", ""]
    assert conversation.call_count == 1


@pytest.mark.parametrize(
    ("info", "error"),
    [
        (None, None),
        ({}, None),
        ({"exit_status": None}, None),
        ({"exit_status": ""}, None),
        ({"exit_status": "submitted"}, None),
        ({"exit_status": "submitted (exit_cost)"}, None),
        ({"exit_status": "exit_cost"}, "exit status: exit_cost"),
    ],
)
def test_the_outcome_is_the_exit_status(read, info, error):
    assert read(trajectory=[], info=info).error == error
