"""What the actors of a recording say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pykka

    from inmem.recorder.transcript import Conversation


@dataclass(frozen=True, slots=True)
class AgentReady:
    """An agent to the dispenser: I have nothing to do."""

    agent: pykka.ActorRef[Any]


@dataclass(frozen=True, slots=True)
class RecordConversation:
    """The dispenser to an agent: record this one, from where it was left on."""

    conversation: Conversation


@dataclass(frozen=True, slots=True)
class RecordNextMessage:
    """An agent to itself: do the next step. Being a message, it lets the agent be stopped between two steps."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What has been done since the last report, or in a whole recording.

    Attributes:
        runs: conversations brought to their end, or found there.
        recorded: messages recorded.
        already_recorded: messages found recorded.
        tool_calls: of those runs.
        size_bytes: the share of the files that has been dealt with.
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
    """An agent to the dispenser, a few times a second and at the end of a conversation."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class ConversationFailed:
    """An agent to the dispenser: this conversation stays as far as it came."""

    run_id: str
    error: Exception
