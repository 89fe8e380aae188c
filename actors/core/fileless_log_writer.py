"""The replacement for the log writer where there are no files to write to."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from inmem.actors.dispatch.actor import StoreActor
from inmem.actors.messages.core import Append, Appended, Checkpoint, CloseLog, Flush, LogClosed
from inmem.engine.errors import InvariantError
from inmem.engine.outcomes import OUTCOMES_MAX

if TYPE_CHECKING:
    from inmem.actors.dispatch.mailbox import Mailbox, MailboxRef
    from inmem.engine.errors import InmemError


class FilelessLogWriter(StoreActor):
    """Steps 3 and 4 without files: records are numbered and discarded.

    Also used where no file may be written, in a read-only or failed store; `refusal` is then the answer to a flush or a
    checkpoint, and commits never get this far.

    Attributes:
        numbered: (transaction id, version) of the newest commits: what a log would prove after a failure.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        supervisor: MailboxRef,
        core: int,
        coordinator: MailboxRef,
        version: int,
        refusal: InmemError | None,
    ) -> None:
        super().__init__(mailbox, supervisor, core)
        self._coordinator = coordinator.mailbox
        self._version = version
        self._refusal = refusal
        self.numbered: deque[tuple[int, int]] = deque(maxlen=OUTCOMES_MAX)

    def release(self) -> None:
        """Do nothing: there is no segment to release."""

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        match message:
            case Append():
                self._version += 1
                self.numbered.append((message.transaction_id, self._version))
                appended = Appended(self.core, self._version, (message.transaction_id,))
                self._dispatcher.pass_on(self._coordinator, appended)
            case CloseLog():
                return LogClosed()
            case Flush() | Checkpoint():
                if self._refusal is not None:
                    raise self._refusal.anew()
                return None if isinstance(message, Flush) else self._version
            case _:
                raise InvariantError(f"a log writer without files cannot handle {type(message).__name__}")
        return None
