"""The dispenser: reads conversations, hands them to agents, and collects progress and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka

from inmem import DatabaseClosedError, StorageError
from inmem.recorder.messages import (
    AgentReady,
    ConversationFailed,
    Progress,
    ProgressMade,
    RecordConversation,
)
from inmem.recorder.place import TranscriptError
from inmem.recorder.source import read_conversations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from inmem.recorder.source import TranscriptFile
    from inmem.recorder.transcript import Conversation

_STORE_TROUBLE = (StorageError, DatabaseClosedError)
"""After one of these errors no other conversation can be recorded either."""


class Dispenser(pykka.ThreadingActor):
    """Reads the files while the agents record, and sets `done` once no agent has work left.

    Args:
        files: the files, in the order in which to record them.
        agent_count: how many agents will ask for conversations.
        done: set to (progress, errors) at the end, or to the exception that prevented it.
        on_progress: called in this actor's thread with the total progress so far.
    """

    use_daemon_thread = True
    """The process may exit while this actor is blocked reading from a silent pipe."""

    def __init__(
        self,
        files: Sequence[str | TranscriptFile],
        agent_count: int,
        done: pykka.Future[tuple[Progress, list[str]]],
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        super().__init__()
        self._conversations = self._read(files)
        self._agents_at_work = agent_count
        self._done: pykka.Future[tuple[Progress, list[str]]] | None = done
        self._on_progress = on_progress
        self._progress = Progress()
        self._errors: list[str] = []
        self._store_failed = False

    def on_receive(self, message: Any) -> None:
        """Give an agent its next conversation, or record its report."""
        match message:
            case AgentReady(agent):
                self._dispense(agent)
            case ProgressMade(progress):
                self._progress += progress
                if self._on_progress is not None:
                    self._on_progress(self._progress)
            case ConversationFailed(run_id, error):
                self._errors.append(f"{run_id}: {str(error) or type(error).__name__}")
                self._store_failed = self._store_failed or isinstance(error, _STORE_TROUBLE)
            case _:
                raise TypeError(f"the dispenser does not know {type(message).__name__}")

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Set the failure as the result of `done`."""
        if self._done is not None:
            self._done.set_exception((exception_type, exception_value, traceback))

    def on_stop(self) -> None:
        """Set an error as the result of `done` if it has none yet."""
        if self._done is not None:
            self._done.set_exception((DatabaseClosedError, DatabaseClosedError("the recording was stopped"), None))
            self._done = None

    def _dispense(self, agent: pykka.ActorRef[Any]) -> None:
        conversation = None if self._store_failed else next(self._conversations, None)
        if conversation is not None:
            agent.tell(RecordConversation(conversation))
            return
        self._agents_at_work -= 1
        if self._agents_at_work == 0 and self._done is not None:
            self._done.set((self._progress, self._errors))
            self._done = None

    def _read(self, files: Sequence[str | TranscriptFile]) -> Iterator[Conversation]:
        """Yield each conversation of all files once; at an error in a file, continue with the next file."""
        seen: set[str] = set()
        for file in files:
            is_empty = True
            try:
                for conversation in read_conversations(file):
                    is_empty = False
                    # Two agents recording one run would only conflict with each other.
                    if conversation.run_id not in seen:
                        seen.add(conversation.run_id)
                        yield conversation
            except TranscriptError as error:
                self._errors.append(str(error))
            else:
                if is_empty:
                    self._errors.append(f"{file}: there is no conversation in it")
