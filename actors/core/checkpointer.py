"""The actor that writes checkpoints while commits go on: it reads an immutable snapshot, in a thread of its own.

The order matters. The log up to the snapshot must be durable before the checkpoint gets its name, or a crash could
leave a checkpoint that knows more than the log. Old files may be removed only once the checkpoint and its name are
durable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.dispatch.actor import StoreActor
from inmem.actors.dispatch.mailbox import AsMessage
from inmem.actors.event_log import QuietLogger
from inmem.actors.files.durable_files import install_temporary, remove_if_present, write_temporary
from inmem.actors.messages.core import CheckpointFailed, CheckpointWritten, Flush, LogFlushed, WriteCheckpoint
from inmem.engine.errors import InvariantError, StorageError
from inmem.engine.log.checkpoint_format import CheckpointHeader, encode_checkpoint
from inmem.engine.log.log_folder import TEMPORARY_SUFFIX, FolderContents, checkpoint_name

if TYPE_CHECKING:
    from inmem.actors.dispatch.mailbox import Mailbox, MailboxRef
    from inmem.engine.ports import Clock, Disk

log = QuietLogger("inmem.checkpoint")


class Checkpointer(StoreActor):
    """Writes checkpoints: content, log, name, clean-up. While the log is synced for one, the next may begin."""

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
            case WriteCheckpoint():
                try:
                    size_bytes = self._write(message)
                except (StorageError, OSError) as error:
                    self._give_up(message, error)
                else:
                    self._writer.send(
                        Flush(),
                        AsMessage(self.ref, lambda _, error: LogFlushed(self.core, message, size_bytes, error)),
                    )
            case LogFlushed(_, checkpoint, size_bytes, flush_error):
                try:
                    if flush_error is not None:
                        raise StorageError(f"the log could not be flushed: {flush_error}")
                    self._install(checkpoint.first_segment)
                except StorageError as error:
                    self._give_up(checkpoint, error)
                else:
                    version = checkpoint.snapshot.version
                    log.info("checkpoint_written", version=version, bytes=size_bytes)
                    self._writer.tell(CheckpointWritten(self.core, version, checkpoint.first_segment))
            case _:
                raise InvariantError(f"the checkpointer cannot handle {type(message).__name__}")

    def _write(self, message: WriteCheckpoint) -> int:
        header = CheckpointHeader(
            message.first_segment,
            message.snapshot.version,
            message.transaction_id_max,
            message.time_floor_us,
            message.outcomes_since,
            self._clock.now_us(),
        )
        pieces = encode_checkpoint(header, message.snapshot, dict(message.outcomes))
        return write_temporary(self._disk, checkpoint_name(message.first_segment), pieces)

    def _install(self, first_segment: int) -> None:
        install_temporary(self._disk, checkpoint_name(first_segment))
        for name in FolderContents.of(self._disk.names()).before(first_segment):
            self._disk.remove(name)
        self._disk.sync_names()

    def _give_up(self, message: WriteCheckpoint, error: StorageError | OSError) -> None:
        log.warning("checkpoint_failed", version=message.snapshot.version, error=str(error))
        temporary = checkpoint_name(message.first_segment) + TEMPORARY_SUFFIX
        try:
            remove_if_present(self._disk, temporary)
        except StorageError as second:
            log.warning("temporary_file_left", name=temporary, error=str(second))
        # A failed sync of a file that is thrown away says nothing about the log: the store goes on.
        failure = (
            error if isinstance(error, StorageError) else StorageError(f"the checkpoint could not be synced: {error}")
        )
        self._writer.tell(CheckpointFailed(self.core, failure, message.first_segment))
