"""The agent: takes conversations from the dispenser and records each as if it were having it now.

An agent is a client of the store, not a part of it, like any user's actor. It waits for each commit, because it must
not continue before its last step is durable.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pykka

from inmem.recorder.messages import (
    AgentReady,
    ConversationFailed,
    Progress,
    ProgressMade,
    RecordConversation,
    RecordNextMessage,
)
from inmem.recorder.steps import begin_recording, end_recording, record_message

if TYPE_CHECKING:
    from inmem import Database
    from inmem.recorder.transcript import Conversation

REPORT_INTERVAL_S = 0.1
"""Seconds between two reports within a conversation. A report per message would cost a thread switch each."""


class Agent(pykka.ThreadingActor):
    """Records one conversation at a time, one message per transaction.

    All its lasting state is in the store; the actor itself only holds the conversation it is working on.

    Args:
        db: the database to record into.
        dispenser: the actor that hands out conversations and takes reports.
        pace_s: seconds to wait after each message.
    """

    use_daemon_thread = True
    """Lets the process exit if it is interrupted while stopping the agents: they never leave a step half done."""

    def __init__(self, db: Database, dispenser: pykka.ActorRef[Any], pace_s: float = 0.0) -> None:
        super().__init__()
        self._db = db
        self._dispenser = dispenser
        self._pace_s = pace_s
        self._conversation: Conversation | None = None
        self._position = 0
        self._unreported = Progress()
        self._reported_at = time.monotonic()

    def on_start(self) -> None:
        """Ask for the first conversation."""
        self._dispenser.tell(AgentReady(self.actor_ref))

    def on_receive(self, message: Any) -> None:
        """Do one step. If a conversation fails, report it and ask for the next one."""
        if isinstance(message, RecordConversation):
            self._conversation = message.conversation
        conversation = self._conversation
        if conversation is None:
            return
        try:
            if isinstance(message, RecordConversation):
                self._begin(conversation)
            elif self._position < len(conversation.messages):
                self._record_message(conversation)
            else:
                self._end(conversation)
        except Exception as error:  # noqa: BLE001  whatever it is, it is this conversation's trouble alone
            self._dispenser.tell(ConversationFailed(conversation.run_id, error))
            self._conversation = None
        if self._conversation is None:
            self._dispenser.tell(ProgressMade(self._unreported))
            self._unreported = Progress()
            self._dispenser.tell(AgentReady(self.actor_ref))
        else:
            self.actor_ref.tell(RecordNextMessage())

    def _begin(self, conversation: Conversation) -> None:
        self._position = self._db.transaction(conversation.run_id, lambda txn: begin_recording(txn, conversation))
        self._report(Progress(already_recorded=self._position, size_bytes=self._share(conversation) * self._position))

    def _record_message(self, conversation: Conversation) -> None:
        position = self._position
        message = conversation.messages[position]
        self._db.transaction(conversation.run_id, lambda txn: record_message(txn, position, message))
        self._position += 1
        self._report(Progress(recorded=1, size_bytes=self._share(conversation)))
        if self._pace_s:
            time.sleep(self._pace_s)

    def _end(self, conversation: Conversation) -> None:
        self._db.transaction(conversation.run_id, lambda txn: end_recording(txn, conversation))
        self._report(Progress(runs=1, tool_calls=conversation.call_count))
        self._conversation = None

    def _share(self, conversation: Conversation) -> float:
        return conversation.size_bytes / max(1, len(conversation.messages))

    def _report(self, progress: Progress) -> None:
        self._unreported += progress
        now = time.monotonic()
        if now - self._reported_at >= REPORT_INTERVAL_S:
            self._reported_at = now
            self._dispenser.tell(ProgressMade(self._unreported))
            self._unreported = Progress()
