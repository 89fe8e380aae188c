"""The reply address of a commit that an actor sends: the answer is a message to it, because an actor never waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from inmem.actors.messages.transactions import CommitAborted, CommitDecided
from inmem.engine.errors import DatabaseClosedError, InmemError

if TYPE_CHECKING:
    from inmem.actors.dispatch.mailbox import MailboxRef


class DecisionReply(Struct, eq=False):
    """A reply address that turns the outcome into a `CommitDecided`: an `AsMessage` for the path of every request."""

    ref: MailboxRef
    """The actor that sent the commit."""
    group: int
    """Which of the actor's commits it is."""

    def set(self, value: Any = None) -> None:
        """Pass the outcome on."""
        self.ref.send(CommitDecided(self.group, value), None)

    def set_exception(self, exc_info: Any = None) -> None:
        """Pass on why there is no outcome."""
        error = exc_info[1]
        self.set(CommitAborted(error if isinstance(error, InmemError) else DatabaseClosedError()))
