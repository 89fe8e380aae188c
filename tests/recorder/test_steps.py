"""What an agent writes: the traces' tree, its working memory, the cursor and the run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import inmem
from inmem import CasConflictError, Custom, Decision, ErrorTrace, Thought, ToolCall, UsageError
from inmem.recorder import read_conversations
from inmem.recorder.steps import begin_recording, end_recording, record_message
from tests.recorder.transcripts import (
    assistant,
    expect_recorded,
    record_some,
    record_whole,
    tool,
    user,
    write_runs,
)


@pytest.fixture
def db():
    with inmem.open(":memory:") as db:
        yield db


@pytest.fixture
def converse(tmp_path):
    def converse(*messages, **more):
        (conversation,) = read_conversations(write_runs(tmp_path / "runs.json", {"messages": list(messages), **more}))
        return conversation

    return converse


def tree_of(db, run):
    with db.begin(run) as txn:
        return [
            (depth, trace.kind) for root in txn.traces.roots() for depth, trace in txn.traces.get_tree(root.id).walk()
        ]


def test_what_is_said_and_done_is_below_what_the_user_asked(db, converse):
    conversation = converse(
        {"role": "system", "content": "be kind"},
        assistant("Hello?"),
        user("Berths?"),
        assistant(None, ("c1", "find", {"n": 1})),
        tool("c1", '["B7"]', duration_ms=5),
        assistant("Let me hold it.", ("c2", "hold", {"berth": "B7"}), ("c3", "price", {})),
        tool("c3", "Error: unknown"),
        tool("c2", "held"),
        assistant("Held."),
        user("Thanks."),
    )

    record_whole(db, conversation)

    assert tree_of(db, conversation.run_id) == [
        (0, Thought("Hello?")),
        (0, Custom("user", "Berths?")),
        (1, ToolCall("find", {"n": 1}, ["B7"], 5)),
        (1, Thought("Let me hold it.")),
        (2, ToolCall("price", {}, "Error: unknown")),
        (3, ErrorTrace("ToolError", "unknown", recoverable=True)),
        (2, ToolCall("hold", {"berth": "B7"}, "held")),
        (1, Thought("Held.")),
        (0, Custom("user", "Thanks.")),
    ]
    expect_recorded(db, [conversation])


def test_what_follows_a_decision_is_below_it_until_the_answer(db, converse):
    def deciding(question, *calls):
        return assistant(None, *calls, decision={"question": question, "options": ["a", "b"], "chosen": "a"})

    conversation = converse(
        user("Storm!"),
        deciding("close?", ("c1", "close", {})),
        tool("c1", "ok"),
        deciding("warn?", ("c2", "warn", {})),
        tool("c2", "ok"),
        assistant("Done."),
        deciding("sleep?"),
    )

    record_whole(db, conversation)

    assert tree_of(db, conversation.run_id) == [
        (0, Custom("user", "Storm!")),
        (1, Decision("close?", ["a", "b"], "a")),
        (2, ToolCall("close", {}, "ok")),
        (2, Decision("warn?", ["a", "b"], "a")),
        (3, ToolCall("warn", {}, "ok")),
        (1, Thought("Done.")),
        (1, Decision("sleep?", ["a", "b"], "a")),
    ]


def test_calls_that_nobody_answers_are_recorded_in_the_end(db, converse):
    conversation = converse(
        user("go"), assistant(None, ("c1", "one", {"n": 1}), ("c2", "two", {"n": 2})), tool("c2", "yes")
    )

    record_whole(db, conversation)

    (unanswered,) = db.traces.query_by_tag(conversation.run_id, "unanswered")
    assert unanswered.kind == ToolCall("one", {"n": 1})
    expect_recorded(db, [conversation])


def test_answers_that_nobody_asked_for_are_kept(db, converse):
    conversation = converse(tool("c1", "Error: late"), assistant(None, ("c2", "f", {})), tool("c9", "for whom?"))

    record_whole(db, conversation)

    assert tree_of(db, conversation.run_id) == [
        (0, Custom("tool", "Error: late")),
        (1, ErrorTrace("ToolError", "late", recoverable=True)),
        (0, Custom("tool", "for whom?")),
        (0, ToolCall("f", {})),
    ]


def test_an_answer_without_an_id_is_for_the_call_that_waited_longest(db, converse):
    conversation = converse(
        assistant(None, ("c1", "one", {"n": 1}), ("c2", "two", {"n": 2})), tool(None, "first"), tool(None, "second")
    )

    record_whole(db, conversation)

    assert [kind for _, kind in tree_of(db, conversation.run_id)] == [
        ToolCall("one", {"n": 1}, "first"),
        ToolCall("two", {"n": 2}, "second"),
    ]


def test_calls_with_the_same_id_are_answered_one_after_the_other(db, converse):
    conversation = converse(assistant(None, ("c", "one", 1), ("c", "one", 1)), tool("c", "first"), tool("c", "second"))

    record_whole(db, conversation)

    assert [kind.result for _, kind in tree_of(db, conversation.run_id)] == ["first", "second"]


def test_working_memory_while_a_call_is_open(db, converse):
    conversation = converse(user("go"), assistant("well", ("c1", "f", {"x": 1})), tool("c1", "done"))
    run = conversation.run_id
    db.transaction(run, lambda txn: begin_recording(txn, conversation))

    record_some(db, conversation, 0, 2)

    assert dict(db.kv.list_with_values(run)) == {
        "last_user_message": "go",
        "request": "0000",
        "open_parent": "0000",
        "pending_calls/0001.0": {
            "id": "c1",
            "trace": "0001.0",
            "parent": "0001",
            "tool_name": "f",
            "arguments": {"x": 1},
        },
    }
    assert db.cells.read(run, "cursor").value == 2
    assert db.runs.get_run(run).status == "Active"
    assert db.traces.query_by_type(run, "ToolCall") == []


def test_what_an_answer_writes_does_not_grow_with_the_calls_that_wait(tmp_path):
    def log_bytes(count):
        calls = [(f"c{at}", "f", {"x": at}) for at in range(count)]
        answers = [tool(f"c{at}", "ok") for at in range(count)]
        path = write_runs(tmp_path / f"{count}.json", [assistant(None, *calls), *answers])
        (conversation,) = read_conversations(path)
        with inmem.open(tmp_path / f"db-{count}", durability="never") as db:
            record_whole(db, conversation)
            expect_recorded(db, [conversation])
        return sum(file.stat().st_size for file in (tmp_path / f"db-{count}").iterdir())

    # Eight times as many take a little more than eight times as much; written anew each time it was thirty times.
    assert log_bytes(320) < 12 * log_bytes(40)


def test_unanswered_calls_are_recorded_in_the_order_in_which_they_were_asked(db, converse):
    conversation = converse(assistant(None, *[(f"c{at}", "f", at) for at in range(12)]), tool("c5", "ok"))

    record_whole(db, conversation)

    unanswered = db.traces.query_by_tag(conversation.run_id, "unanswered")
    assert [trace.kind.arguments for trace in unanswered] == [str(at) for at in range(12) if at != 5]


def test_answers_with_and_without_an_id_each_find_the_call_that_waited_longest(db, converse):
    asked = assistant(None, ("a", "f", 0), ("b", "f", 1), ("a", "f", 2), ("b", "f", 3), (None, "f", 4))
    answers = [tool("b", "first b"), tool(None, "first"), tool(None, "next"), tool("b", "next b"), tool(None, "last")]
    conversation = converse(asked, *answers, tool(None, "for whom?"))

    record_whole(db, conversation)

    calls = db.traces.query_by_type(conversation.run_id, "ToolCall")
    assert [(call.kind.arguments, call.kind.result) for call in calls] == [
        ("1", "first b"),
        ("0", "first"),
        ("2", "next"),
        ("3", "next b"),
        ("4", "last"),
    ]
    assert [trace.kind for trace in db.traces.query_by_type(conversation.run_id, "Custom")] == [
        Custom("tool", "for whom?")
    ]


def test_an_answer_is_kept_though_somebody_has_deleted_what_waited_for_it(db, converse):
    conversation = converse(assistant(None, ("c1", "f", {})), tool("c1", "done"))
    run = conversation.run_id
    db.transaction(run, lambda txn: begin_recording(txn, conversation))
    record_some(db, conversation, 0, 1)
    db.kv.delete(run, "pending_calls/0000.0")

    record_some(db, conversation, 1, 2)

    assert tree_of(db, run) == [(0, Custom("tool", "done"))]


def test_a_message_cannot_be_recorded_twice_or_out_of_order(db, converse):
    conversation = converse(user("one"), user("two"), user("three"))
    run = conversation.run_id
    db.transaction(run, lambda txn: begin_recording(txn, conversation))
    record_some(db, conversation, 0, 1)

    for at in (0, 2):
        with pytest.raises(CasConflictError):
            db.transaction(run, lambda txn, at=at: record_message(txn, at, conversation.messages[at]))

    assert db.events.len(run) == 1
    assert db.traces.count(run) == 1


def test_ending_twice_changes_nothing(db, converse):
    conversation = converse(user("one"), error="gave up")
    record_whole(db, conversation)
    version = db.version

    record_whole(db, conversation)

    assert db.version == version
    expect_recorded(db, [conversation])


def test_a_run_that_is_no_recording_is_left_alone(db, converse):
    conversation = converse(user("one"))
    db.runs.create_run(conversation.run_id)

    with pytest.raises(UsageError, match="is not a recording"):
        record_whole(db, conversation)


def test_a_run_that_somebody_ended_is_left_alone(db, converse):
    conversation = converse(user("one"), user("two"))
    db.transaction(conversation.run_id, lambda txn: begin_recording(txn, conversation))
    record_some(db, conversation, 0, 1)
    db.runs.cancel_run(conversation.run_id)

    with pytest.raises(UsageError, match="the run is Cancelled at message 1 of 2"):
        record_whole(db, conversation)

    db.transaction(conversation.run_id, lambda txn: end_recording(txn, conversation))
    assert db.runs.get_run(conversation.run_id).status == "Cancelled"


call_ids = st.sampled_from([None, "a", "b", "c"])
texts = st.sampled_from([None, "", "text", "Error: no"])
chat_messages = st.one_of(
    st.builds(user, texts),
    st.builds(tool, call_ids, texts),
    st.builds(
        lambda text, ids: assistant(text, *[(each, "f", {"x": each}) for each in ids]),
        texts,
        st.lists(call_ids, max_size=3),
    ),
    st.builds(lambda text: assistant(text, decision={"question": "?", "options": [1, 2], "chosen": 1}), texts),
    st.just({"role": "system", "content": "rules"}),
)


@given(
    messages=st.lists(st.lists(chat_messages, max_size=12), min_size=1, max_size=3),
    stops=st.lists(st.lists(st.integers(0, 12), max_size=3), min_size=3, max_size=3),
)
def test_any_conversations_stopped_anywhere_are_recorded_exactly_once(tmp_path_factory, messages, stops):
    path = tmp_path_factory.mktemp("any") / "runs.json"
    conversations = list(read_conversations(write_runs(path, *messages)))
    with inmem.open(":memory:") as db:
        for conversation, ends in zip(conversations, stops, strict=False):
            for end in ends:
                start = db.transaction(conversation.run_id, lambda txn, it=conversation: begin_recording(txn, it))
                record_some(db, conversation, start, min(end, len(conversation.messages)))
        for conversation in conversations:
            record_whole(db, conversation)

        expect_recorded(db, conversations)
