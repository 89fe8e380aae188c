"""The actor that waits for the disk, so that no other has to: syncs and new segments. It has a thread of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.dispatch.actor import StoreActor
from inmem.actors.files.durable_files import create_segment
from inmem.actors.messages.core import SegmentRefused, SegmentStarted, StartSegment, Sync, Synced
from inmem.engine.errors import InvariantError, StorageError

if TYPE_CHECKING:
    from inmem.actors.dispatch.mailbox import Mailbox, MailboxRef
    from inmem.engine.ports import Clock, Disk


class LogDisk(StoreActor):
    """Performs the log writer's blocking operations, one after the other.

    A sync that fails raises, and so ends this actor and with it the core: after a failed fsync, only reading the files
    shows what they hold; trying again proves nothing.
    """

    def __init__(
        self, mailbox: Mailbox, supervisor: MailboxRef, core: int, disk: Disk, clock: Clock, writer: MailboxRef
    ) -> None:
        super().__init__(mailbox, supervisor, core)
        self._disk = disk
        self._clock = clock
        self._writer = writer

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        match message:
            case Sync(core, file):
                started_s = self._clock.monotonic_s()
                file.sync()
                self._writer.tell(Synced(core, self._clock.monotonic_s() - started_s))
            case StartSegment(core, previous, header):
                if previous is not None:
                    previous.sync()
                try:
                    file = create_segment(self._disk, header)
                except StorageError as error:
                    self._writer.tell(SegmentRefused(core, error))
                else:
                    self._writer.tell(SegmentStarted(core, header, file))
            case _:
                raise InvariantError(f"the log disk cannot handle {type(message).__name__}")
