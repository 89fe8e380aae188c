"""Real conversations through all five primitives, one transaction for each message, and every question about them.

The files of the folder that INMEM_TRANSCRIPTS names, and those that come with the package.
"""

import pytest

import inmem
from inmem import Custom, RunStatus, Thought, ToolCall
from inmem.engine.codec import decode_value
from inmem.recorder.source import read_conversations
from tests.integration.five import Content, Registered, Step, expect_everywhere
from tests.recorder.transcripts import OWN, real_transcripts


def record(db, conversation):
    """Store a conversation message by message, and return what the run must hold then."""
    run = conversation.run_id
    with db.begin(run) as txn:
        txn.runs.create_run(run, tags=conversation.tags, metadata=conversation.metadata)
        txn.cells.init("position", 0)
    content = Content(cells={"position": (0, 1)})
    for at, message in enumerate(conversation.messages):
        payload = decode_value(message.payload.data)
        parent = f"{at - 1:04}" if at and message.role != "user" else None
        kind = Thought(message.text) if message.role == "assistant" else Custom(message.role, payload)
        with db.begin(run) as txn:
            assert txn.cells.cas("position", at + 1, at + 1) == at + 2
            txn.events.append(message.role, payload)
            txn.kv.put(f"message/{at:04}", payload)
            txn.kv.put("latest", message.text)
            if at % 3 == 2:
                assert txn.kv.delete(f"message/{at - 2:04}")
            txn.traces.record_with_options(kind, id=f"{at:04}", parent_id=parent, tags=(message.role,))
            for number, call in enumerate(message.calls):
                txn.traces.record_with_options(
                    ToolCall(call.tool_name, call.arguments), id=f"{at:04}.{number}", parent_id=f"{at:04}"
                )
        content.cells["position"] = (at + 1, at + 2)
        content.events.append((message.role, payload))
        content.kv |= {f"message/{at:04}": payload, "latest": message.text}
        if at % 3 == 2:
            del content.kv[f"message/{at - 2:04}"]
        content.traces[f"{at:04}"] = Step(kind, parent, (message.role,))
        for number, call in enumerate(message.calls):
            content.traces[f"{at:04}.{number}"] = Step(ToolCall(call.tool_name, call.arguments), f"{at:04}")
    status = RunStatus.COMPLETED if conversation.error is None else RunStatus.FAILED
    if conversation.error is None:
        db.runs.complete_run(run)
    else:
        db.runs.fail_run(run, conversation.error)
    content.runs = Registered(status, None, conversation.tags, conversation.metadata, conversation.error)
    return content


def store_and_ask(path, folder):
    with inmem.open(folder, durability="interval") as db:
        contents = {conversation.run_id: record(db, conversation) for conversation in read_conversations(path)}
    assert contents
    with inmem.open(folder, shards=2) as db:
        for run, content in contents.items():
            expect_everywhere(db, run, content)
        assert sorted(db.runs.list_runs()) == sorted(contents)
        failed = [run for run, content in contents.items() if content.runs.error is not None]
        assert [known.run_id for known in db.runs.query_runs(status="Failed")] == failed
        stats = db.runs.get_stats()
        assert (stats.total_runs, stats.failed_runs) == (len(contents), len(failed))
        assert db.verify().is_valid


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_own_transcripts(path, tmp_path):
    store_and_ask(path, tmp_path)


@pytest.mark.unmeasured
def test_real_transcripts(tmp_path):
    paths = real_transcripts()
    assert paths
    for at, path in enumerate(paths):
        store_and_ask(path, tmp_path / str(at))
