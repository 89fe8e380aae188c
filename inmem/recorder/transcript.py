"""The recorder's model of a transcript, independent of the source format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inmem.engine.codec import Encoded


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that an assistant's message asks for.

    Attributes:
        id: the id that the answer refers to, or None if the source does not name its calls.
        tool_name: the name of the tool.
        arguments: a JSON value; a str if the arguments in the source are not JSON.
    """

    id: str | None
    tool_name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """The content of a tool's message.

    Attributes:
        call_id: the id of the answered call as given in the message, or None for the oldest unanswered call.
        result: a JSON value; a str if the text in the source is not a JSON object or list.
        error: (type, message) if the tool failed.
        duration_ms: how long the tool took, in milliseconds, if the source says so.
        call_at: the answered call, as the position of its message and its index among that message's calls. None until
            `with_calls_found` has set it, and if there is no such call.
    """

    call_id: str | None
    result: Any
    error: tuple[str, str] | None
    duration_ms: float | None
    call_at: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision that an assistant's message explains: one of `options` was `chosen`."""

    question: str
    options: list[Any]
    chosen: Any
    reasoning: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        role: "system", "developer", "user", "assistant" or "tool"; the event's type.
        payload: the complete message as in the source; the event's payload.
        text: the text of the message, "" if it has none.
        calls: the tool calls that it makes.
        answer: a tool's answer, for role "tool" only.
        choice: the decision that it explains.
    """

    role: str
    payload: Encoded
    text: str
    calls: tuple[Call, ...] = ()
    answer: Answer | None = None
    choice: Choice | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation, which becomes one run.

    Attributes:
        run_id: unique to the conversation, and the same each time it is read from a file of the same name.
        messages: the messages, in order.
        size_bytes: the conversation's size in the file.
        tags: the tags of the run.
        metadata: the metadata of the run.
        error: why the run failed, or None if it completed.
    """

    run_id: str
    messages: tuple[Message, ...]
    size_bytes: int
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    error: str | None = None

    @property
    def call_count(self) -> int:
        """The number of tool calls in all messages."""
        return sum(len(message.calls) for message in self.messages)
