"""What a transcript is to the recorder, whatever format it was written in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inmem.engine.codec import Encoded


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that an assistant's message asks for.

    Attributes:
        id: what the answer refers to, or None if the source does not name its calls.
        tool_name: the tool.
        arguments: a JSON value; a str where the source has arguments that are not JSON.
    """

    id: str | None
    tool_name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool's message says.

    Attributes:
        call_id: what it says itself of the call that it answers, or None for the one that has waited longest.
        result: a JSON value; a str where the source has text that is not a JSON object or list.
        error: (type, message) if the tool failed.
        duration_ms: how long the tool took, in milliseconds, if the source says so.
        call_at: the call that it answers: the position of its message, and which of that message's calls it is. None
            as long as nobody has looked, and where there is no such call.
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
        payload: the message as it stands in the source, whole: the event's payload.
        text: what it says, "" if nothing.
        calls: tool calls that it asks for.
        answer: what a tool answered, for role "tool" only.
        choice: a decision that it explains.
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
        run_id: the same whenever the same content is read from a file of the same name, and no other conversation's.
        messages: in order.
        size_bytes: its share of the file.
        tags: of the run.
        metadata: of the run.
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
        """Tool calls in all messages."""
        return sum(len(message.calls) for message in self.messages)
