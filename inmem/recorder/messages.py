"""The messages between the actors of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pykka

    from inmem.recorder.transcript import Conversation


@dataclass(frozen=True, slots=True)
class AgentReady:
    """From an agent to the dispenser: the agent is idle."""

    agent: pykka.ActorRef[Any]


@dataclass(frozen=True, slots=True)
class RecordConversation:
    """From the dispenser to an agent: record this conversation, starting after the messages already recorded."""

    conversation: Conversation


@dataclass(frozen=True, slots=True)
class RecordNextMessage:
    """From an agent to itself: do the next step. As each step is a message, the agent can be stopped between steps."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress since the last report, or of a whole recording.

    Attributes:
        runs: conversations recorded to their end, now or earlier.
        recorded: messages recorded.
        already_recorded: messages that an earlier recording had recorded.
        tool_calls: tool calls in those runs.
        size_bytes: the part of the files that has been processed.
    """

    runs: int = 0
    recorded: int = 0
    already_recorded: int = 0
    tool_calls: int = 0
    size_bytes: float = 0

    def __add__(self, other: Progress) -> Progress:
        return Progress(
            self.runs + other.runs,
            self.recorded + other.recorded,
            self.already_recorded + other.already_recorded,
            self.tool_calls + other.tool_calls,
            self.size_bytes + other.size_bytes,
        )


@dataclass(frozen=True, slots=True)
class ProgressMade:
    """From an agent to the dispenser, a few times a second and at the end of each conversation."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class ConversationFailed:
    """From an agent to the dispenser: recording this conversation failed; the messages recorded so far stay."""

    run_id: str
    error: Exception
