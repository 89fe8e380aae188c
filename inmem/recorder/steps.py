"""What an agent writes in each of its steps: one transaction over all five primitives.

A conversation becomes a run with

- an event per message, its type the role, its payload the message;
- traces: a ``Custom("user")`` per user message, and below it what the agent did about it. What it said is a Thought or
  a Decision, its tool calls are below that, and below a call the Error that came of it. What is done after a decision
  is below the decision, until the agent answers the user;
- working memory in the KVStore: what the agent needs to go on with, and nothing that it could not lose;
- the cell ``cursor``: how many messages are recorded. Every step moves it on by compare-and-swap, so no message can be
  recorded twice, and a recording goes on exactly where it was interrupted.

A tool call is recorded when its answer arrives, because a trace never changes. Until then it is noted under
a key of its own: what waits is not written again for each answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem import Custom, Decision, ErrorTrace, RunStatus, Thought, ToolCall, UsageError

if TYPE_CHECKING:
    from inmem import Transaction
    from inmem.recorder.transcript import Answer, Conversation, Message

CURSOR = "cursor"
"""The cell: how many messages of the conversation are recorded."""

LAST_USER_MESSAGE = "last_user_message"
"""Working memory: what the user said last."""

REQUEST = "request"
"""Working memory: the trace of what the user said last."""

OPEN_PARENT = "open_parent"
"""Working memory: the trace that the agent's next step belongs under, a decision or the request."""

PENDING_CALLS = "pending_calls/"
"""Working memory: what the keys of tool calls that have not been answered begin with; the trace's id is the rest."""

_ALL_PENDING_CALLS = "pending_calls"
"""Where an earlier version kept them, in one list."""

UNANSWERED = "unanswered"
"""The tag of tool calls that never were."""


def begin_recording(txn: Transaction, conversation: Conversation) -> int:
    """Register the run unless it is registered, and return how many messages are recorded.

    Raises:
        UsageError: there is such a run, but it is not a recording, or was ended by somebody else.
    """
    run = txn.runs.get_run(conversation.run_id)
    if run is None:
        txn.runs.create_run(conversation.run_id, tags=conversation.tags, metadata=conversation.metadata)
        txn.cells.init(CURSOR, 0)
        return 0
    cursor = txn.cells.read(CURSOR)
    if cursor is None:
        raise UsageError("a run of this name exists, and is not a recording")
    position: int = cursor.value
    if run.status is not RunStatus.ACTIVE and position < len(conversation.messages):
        raise UsageError(f"the run is {run.status} at message {position} of {len(conversation.messages)}")
    # A recording that was begun when all of them were under one key goes on, too.
    pending: list[dict[str, Any]] = txn.kv.get(_ALL_PENDING_CALLS) or []
    for call in pending:
        txn.kv.put(PENDING_CALLS + call["trace"], call)
    txn.kv.delete(_ALL_PENDING_CALLS)
    return position


def record_message(txn: Transaction, position: int, message: Message) -> None:
    """Record the message at `position`, the first one that is not recorded yet.

    Raises:
        CasConflictError: it is not.
    """
    # The cell's first version, 1, is of position 0.
    txn.cells.cas(CURSOR, position + 1, position + 1)
    txn.events.append(message.role, message.payload)
    trace_id = _trace_id(position)
    if message.role == "user":
        _hear_user(txn, trace_id, message)
    elif message.role == "assistant":
        _speak(txn, position, message)
    elif message.answer is not None:
        _hear_tool(txn, trace_id, message.answer)


def end_recording(txn: Transaction, conversation: Conversation) -> None:
    """Record the calls that were never answered, clear the working memory and give the run its last status.

    Does nothing to a run that has ended.
    """
    run = txn.runs.get_run(conversation.run_id)
    if run is None or run.status is not RunStatus.ACTIVE:
        return
    for call in _take_pending(txn):
        txn.traces.record_with_options(
            ToolCall(call["tool_name"], call["arguments"]),
            id=call["trace"],
            parent_id=call["parent"],
            tags=(UNANSWERED,),
        )
    for key in (OPEN_PARENT, REQUEST):
        txn.kv.delete(key)
    if conversation.error is None:
        txn.runs.complete_run(conversation.run_id)
    else:
        txn.runs.fail_run(conversation.run_id, conversation.error)


def _hear_user(txn: Transaction, trace_id: str, message: Message) -> None:
    txn.traces.record_with_options(Custom("user", message.text), id=trace_id)
    txn.kv.put(LAST_USER_MESSAGE, message.text)
    txn.kv.put(REQUEST, trace_id)
    txn.kv.put(OPEN_PARENT, trace_id)


def _speak(txn: Transaction, position: int, message: Message) -> None:
    trace_id = _trace_id(position)
    choice = message.choice
    is_answer = not message.calls and choice is None
    parent = txn.kv.get(REQUEST if is_answer else OPEN_PARENT)
    if is_answer:
        txn.kv.put(OPEN_PARENT, parent)
    if choice is not None:
        decision = Decision(choice.question, choice.options, choice.chosen, choice.reasoning or message.text or None)
        txn.traces.record_with_options(decision, id=trace_id, parent_id=parent)
        txn.kv.put(OPEN_PARENT, trace_id)
        parent = trace_id
    elif message.text:
        txn.traces.record_with_options(Thought(message.text), id=trace_id, parent_id=parent)
        parent = trace_id
    for index, call in enumerate(message.calls):
        asked_as = _call_id(position, index)
        asked = {
            "id": call.id,
            "trace": asked_as,
            "parent": parent,
            "tool_name": call.tool_name,
            "arguments": call.arguments,
        }
        txn.kv.put(PENDING_CALLS + asked_as, asked)


def _hear_tool(txn: Transaction, trace_id: str, answer: Answer) -> None:
    asked_as = None if answer.call_at is None else _call_id(*answer.call_at)
    call = None if asked_as is None else txn.kv.get(PENDING_CALLS + asked_as)
    if asked_as is None or call is None:
        # Transcripts may begin in the middle, or have lost the question.
        txn.traces.record_with_options(Custom("tool", answer.result), id=trace_id, parent_id=txn.kv.get(OPEN_PARENT))
    else:
        trace_id = asked_as
        txn.kv.delete(PENDING_CALLS + trace_id)
        kind = ToolCall(call["tool_name"], call["arguments"], answer.result, answer.duration_ms)
        txn.traces.record_with_options(kind, id=trace_id, parent_id=call["parent"])
    if answer.error is not None:
        error_type, text = answer.error
        error = ErrorTrace(error_type, text, recoverable=True)
        txn.traces.record_with_options(error, id=f"{trace_id}.error", parent_id=trace_id)


def _take_pending(txn: Transaction) -> list[dict[str, Any]]:
    """Take the calls that have not been answered out of the working memory, in the order in which they were asked."""
    pending: list[dict[str, Any]] = []
    for key, call in txn.kv.list_with_values(PENDING_CALLS):
        txn.kv.delete(key)
        pending.append(call)
    # As text, "0001.10" is before "0001.2".
    return sorted(pending, key=lambda call: [int(part) for part in call["trace"].split(".")])


def _trace_id(position: int) -> str:
    return f"{position:04}"


def _call_id(position: int, index: int) -> str:
    return f"{_trace_id(position)}.{index}"
