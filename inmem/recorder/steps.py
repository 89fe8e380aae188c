"""The writes of an agent's steps: each step is one transaction over all five primitives.

A conversation becomes a run with

- an event per message, with the role as its type and the message as its payload;
- traces: a ``Custom("user")`` per user message, with the agent's steps below it. What the agent says is a Thought or a
  Decision, its tool calls are below that, and the Error of a failed call is below the call. Steps after a decision are
  below the decision, until the agent answers the user;
- working memory in the KVStore: what the agent needs to continue, and nothing that it could not afford to lose;
- the cell ``cursor``: the number of recorded messages. Every step advances it by compare-and-swap, so no message can be
  recorded twice, and a recording continues exactly where it was interrupted.

A tool call is recorded when its answer arrives, because a trace never changes. Until then it is stored under its own
key, so an answer does not rewrite the other pending calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem import Custom, Decision, ErrorTrace, RunStatus, Thought, ToolCall, UsageError

if TYPE_CHECKING:
    from inmem import Transaction
    from inmem.recorder.transcript import Answer, Conversation, Message

CURSOR = "cursor"
"""The cell with the number of recorded messages of the conversation."""

LAST_USER_MESSAGE = "last_user_message"
"""Working memory: the text of the user's last message."""

REQUEST = "request"
"""Working memory: the trace of the user's last message."""

OPEN_PARENT = "open_parent"
"""Working memory: the parent trace of the agent's next step, a decision or the request."""

PENDING_CALLS = "pending_calls/"
"""Working memory: the key prefix of tool calls without an answer; the trace's id follows it."""

UNANSWERED = "unanswered"
"""The tag of tool calls that were never answered."""


def begin_recording(txn: Transaction, conversation: Conversation) -> int:
    """Register the run unless it is registered, and return the number of recorded messages.

    Raises:
        UsageError: the run exists but is not a recording, or it has ended before all messages were recorded.
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
    return position


def record_message(txn: Transaction, position: int, message: Message) -> None:
    """Record the message at `position`, which must be the first one not yet recorded.

    Raises:
        CasConflictError: another message is the first one not yet recorded.
    """
    # The cell has version 1 at position 0.
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
    """Record the calls that were never answered, clear the working memory and end the run.

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
        # The transcript may begin in the middle of a conversation, or lack the call.
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
    """Remove the unanswered calls from the working memory and return them in the order in which they were made."""
    pending: list[dict[str, Any]] = []
    for key, call in txn.kv.list_with_values(PENDING_CALLS):
        txn.kv.delete(key)
        pending.append(call)
    # As strings, "0001.10" sorts before "0001.2".
    return sorted(pending, key=lambda call: [int(part) for part in call["trace"].split(".")])


def _trace_id(position: int) -> str:
    return f"{position:04}"


def _call_id(position: int, index: int) -> str:
    return f"{_trace_id(position)}.{index}"
