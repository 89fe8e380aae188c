"""Transcripts for the tests: written by the test, bundled with the package, or real ones if available."""

import json
import os
from pathlib import Path

import pytest

import inmem.demo.story
from inmem.engine.codec import decode_value
from inmem.recorder.steps import begin_recording, end_recording, record_message

OWN = sorted(inmem.demo.story.TRANSCRIPTS.iterdir())
"""The transcripts bundled with the package, one file of each format."""


def real_transcripts() -> list[Path]:
    """Return the transcript files in the folder named by INMEM_TRANSCRIPTS."""
    folder = os.environ.get("INMEM_TRANSCRIPTS")
    if not folder:
        pytest.skip("INMEM_TRANSCRIPTS names no folder of transcripts")
    return [path for path in sorted(Path(folder).iterdir()) if path.suffix in (".json", ".jsonl", ".traj")]


def user(text):
    return {"role": "user", "content": text}


def assistant(text=None, *calls, **more):
    message = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for call_id, name, arguments in calls
        ]
    return message | more


def tool(call_id, content, **more):
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def write_runs(path, *conversations):
    """Write conversations, each a list of messages or a complete object, as a JSON list."""
    items = [each if isinstance(each, dict) else {"messages": each} for each in conversations]
    path.write_text(json.dumps(items), encoding="utf-8")
    return path


def record_whole(db, conversation):
    """Record one conversation in this thread."""
    start = db.transaction(conversation.run_id, lambda txn: begin_recording(txn, conversation))
    record_some(db, conversation, start, len(conversation.messages))
    db.transaction(conversation.run_id, lambda txn: end_recording(txn, conversation))


def record_some(db, conversation, start, end):
    """Record messages [start, end) of a conversation whose recording has begun."""
    for at in range(start, end):
        message = conversation.messages[at]
        db.transaction(conversation.run_id, lambda txn, at=at, message=message: record_message(txn, at, message))


def expect_recorded(db, conversations):
    """Assert that the database holds exactly these conversations, each message once, consistently."""
    assert sorted(db.runs.list_runs()) == sorted(conversation.run_id for conversation in conversations)
    for conversation in conversations:
        run = conversation.run_id
        messages = [decode_value(message.payload.data) for message in conversation.messages]
        assert [event.payload for event in db.events.iter(run)] == messages
        assert [event.event_type for event in db.events.iter(run)] == [each.role for each in conversation.messages]
        assert db.cells.read(run, "cursor").value == len(messages)
        assert len(db.traces.query_by_type(run, "ToolCall")) == conversation.call_count
        assert db.kv.list(run) in ([], ["last_user_message"])
        assert db.runs.get_run(run).status == ("Completed" if conversation.error is None else "Failed")
        assert db.runs.get_run(run).error == conversation.error
        with db.begin(run) as txn:
            txn.events.check()
            txn.traces.check()
    assert db.verify().is_valid
