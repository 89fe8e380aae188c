"""Where the answer to a commit goes that an actor has sent: back to it as a message, since an actor never waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from inmem.actors.messages.transactions import CommitAborted, CommitDecided
from inmem.engine.errors import DatabaseClosedError, InmemError

if TYPE_CHECKING:
    from inmem.actors.dispatch.mailbox import MailboxRef


class DecisionReply(Struct, eq=False):
    """A reply address that makes a `CommitDecided` of the outcome. `AsMessage` for what every request comes through."""

    ref: MailboxRef
    """The actor that has sent the commit."""
    group: int
    """Which of its commits it is."""

    def set(self, value: Any = None) -> None:
        """Pass an outcome on."""
        self.ref.send(CommitDecided(self.group, value), None)

    def set_exception(self, exc_info: Any = None) -> None:
        """Pass on why there is none."""
        error = exc_info[1]
        self.set(CommitAborted(error if isinstance(error, InmemError) else DatabaseClosedError()))
