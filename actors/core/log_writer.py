"""The log writer: carries out the decisions of `engine/log/group_commit.py`.

Writing is quick and done here. Operations that wait for the disk are left to the log disk, which has a thread of its
own; but after a failed write, the truncation must be durable before the next write.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inmem.actors.dispatch.actor import LATER, Owed, StoreActor
from inmem.actors.event_log import QuietLogger
from inmem.actors.files.durable_files import write_manifest
from inmem.actors.files.log_file import FileDeletedError
from inmem.actors.files.system_calls import storage_error
from inmem.actors.messages.core import (
    Append,
    Appended,
    AppendRefused,
    Checkpoint,
    CheckpointFailed,
    CheckpointWritten,
    CloseLog,
    Flush,
    LogClosed,
    SegmentRefused,
    SegmentRotated,
    SegmentStarted,
    StartSegment,
    Sync,
    SyncDue,
    Synced,
)
from inmem.engine.errors import DatabaseClosedError, InvariantError, StorageError
from inmem.engine.log.group_commit import Durability, GroupCommit
from inmem.engine.log.log_format import SegmentHeader
from inmem.engine.log.manifest import Manifest, ManifestState, read_manifest

if TYPE_CHECKING:
    from inmem.actors.dispatch.mailbox import Mailbox, MailboxRef
    from inmem.actors.environment import StoreClock
    from inmem.engine.log.recovery import LogPosition
    from inmem.engine.ports import AppendFile, Disk

SLOW_SYNC_S = 0.5
"""A sync that takes longer is logged as a warning: every commit waits for it."""

log = QuietLogger("inmem.log")


class LogWriter(StoreActor):
    """Steps 3 and 4 of the commit protocol on disk. Also the `LogOutbox` of its `GroupCommit`.

    Args:
        mailbox: its address.
        supervisor: told of failures.
        core: number of the core it belongs to.
        coordinator: gets the answers of step 4.
        log_disk: the actor that waits for the disk.
        disk: the database's folder, in which a clean close is recorded.
        clock: dates new segments; the time reached is recorded at a clean close.
        durability: the durability mode.
        sync_interval_s: pause between syncs in the `interval` mode.
        salt: salt of this opening.
        position: where recovery found the end of the log.
        version: the version to continue from; at least the log's.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        supervisor: MailboxRef,
        core: int,
        *,
        coordinator: MailboxRef,
        log_disk: MailboxRef,
        disk: Disk,
        clock: StoreClock,
        durability: Durability,
        sync_interval_s: float,
        salt: int,
        position: LogPosition,
        version: int,
    ) -> None:
        super().__init__(mailbox, supervisor, core)
        self._coordinator = coordinator.mailbox
        self._log_disk = log_disk
        self._disk = disk
        self._clock = clock
        self._sync_interval_s = sync_interval_s if durability is Durability.INTERVAL else None
        self._salt = salt
        self._file: AppendFile | None = None
        self._timer_runs = False
        # Each with the version that the checkpoint must reach: the newest one when it was asked for.
        self._checkpoints: list[tuple[Owed, int]] = []
        # A checkpoint is named after its first segment; several may be under way when segments fill fast.
        self._rotated_to = 0
        self._checkpointed_to = 0
        self._closing: Owed | None = None
        self._closed = False
        self._group: GroupCommit[Owed] = GroupCommit(
            self,
            durability,
            number=position.segment,
            end=position.end,
            version=version,
            previous_version=position.version,
            segments=position.segments,
        )

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        match message:
            case Append():
                self._group.append(message.transaction_id, message.record)
            case Synced():
                elapsed_s = message.elapsed_s
                if elapsed_s > SLOW_SYNC_S:
                    log.warning("slow_sync", seconds=round(elapsed_s, 3))
                self._group.synced()
            case SyncDue():
                self._timer_runs = False
                self._group.sync_due()
            case SegmentStarted(_, header, file):
                self._replace_file(file)
                self._group.segment_started(header, file.size)
            case SegmentRefused(_, error):
                self._group.segment_refused(error)
            case Flush() | Checkpoint() if self._closed:
                raise DatabaseClosedError
            case Flush():
                self._group.flush(self.owe(message))
                return LATER
            case Checkpoint():
                self._checkpoints.append((self.owe(message), self._group.version))
                self._start_checkpoint()
                return LATER
            case CheckpointWritten(_, version, first_segment):
                self._checkpointed_to = max(self._checkpointed_to, first_segment)
                self._end_checkpoint(version, None)
            case CheckpointFailed(_, error, first_segment):
                self._checkpointed_to = max(self._checkpointed_to, first_segment)
                self._end_checkpoint(0, error)
            case CloseLog() if self._closed:
                return LogClosed()
            case CloseLog():
                self._closing = self.owe(message)
            case _:
                raise InvariantError(f"the log writer cannot handle {type(message).__name__}")
        if self._closing is None:
            return None
        self._continue_closing()
        return LATER

    # Called by GroupCommit.

    def write(self, data: bytes) -> None:
        """Append to the segment; in `interval` mode a sync follows in due time."""
        (self._file or self._open_file()).append(data)
        if self._sync_interval_s is not None and not self._timer_runs:
            self._timer_runs = True
            self.mailbox.dispatcher.post_later(self._sync_interval_s, self.mailbox, SyncDue(self.core))

    def mark(self, data: bytes) -> bool:
        """Append a mark; if the disk is too full for it, nothing else is affected."""
        try:
            self._open_file().append(data)
        except StorageError as error:
            log.warning("sync_mark_missing", error=str(error))
            return False
        return True

    def sync(self) -> None:
        """Have the log disk sync the segment."""
        self._log_disk.tell(Sync(self.core, self._open_file()))

    def start_segment(self, number: int, base_version: int, previous_end: int, previous_version: int) -> None:
        """Have the log disk create a segment."""
        now_us = self._clock.now_us()
        header = SegmentHeader(number, self._salt, base_version, previous_end, previous_version, now_us)
        self._log_disk.tell(StartSegment(self.core, self._file, header))

    def appended(self, first_version: int, transaction_ids: tuple[int, ...]) -> None:
        """Tell the coordinator."""
        self._dispatcher.pass_on(self._coordinator, Appended(self.core, first_version, transaction_ids))

    def refused(self, transaction_ids: tuple[int, ...], error: StorageError) -> None:
        """Tell the coordinator."""
        log.warning("append_refused", transactions=len(transaction_ids), error=str(error))
        self._dispatcher.pass_on(self._coordinator, AppendRefused(self.core, transaction_ids, error))

    def flushed(self, ticket: Owed) -> None:
        """Answer a flush."""
        ticket.answer(None)

    def rotated(self, number: int, base_version: int) -> None:
        """Start the checkpoint that makes the segments before `number` superfluous."""
        self._rotated_to = number
        self._dispatcher.pass_on(self._coordinator, SegmentRotated(self.core, number, base_version))

    def not_rotated(self, error: StorageError) -> None:
        """Give up the checkpoint."""
        log.warning("segment_refused", error=str(error))
        self._end_checkpoint(0, error)

    def _start_checkpoint(self) -> None:
        if not self._checkpoint_runs:
            self._group.rotate()

    @property
    def _checkpoint_runs(self) -> bool:
        return self._group.is_rotating or self._checkpointed_to < self._rotated_to

    def _end_checkpoint(self, version: int, error: StorageError | None) -> None:
        waiting, self._checkpoints = self._checkpoints, []
        for owed, version_min in waiting:
            if error is not None:
                owed.refuse(error)
            elif version_min <= version:
                owed.answer(version)
            else:
                self._checkpoints.append((owed, version_min))
        if self._checkpoints:
            self._start_checkpoint()

    def _open_file(self) -> AppendFile:
        if self._file is None:
            raise InvariantError("the log is written to before a segment has been started")
        return self._file

    def _replace_file(self, file: AppendFile | None) -> None:
        if self._file is not None:
            self._file.close()
        self._file = file

    def _continue_closing(self) -> None:
        """Close the log once no sync and no checkpoint is under way: then the folder may have another owner."""
        closing = self._closing
        if closing is None or self._checkpoint_runs or not self._group.is_idle:
            return
        self._closing = None
        self._closed = True
        try:
            self._close()
        except StorageError as error:
            closing.refuse(error)
        except OSError as error:
            closing.refuse(StorageError(f"the log could not be made durable: {storage_error(error, 'its file')}"))
        else:
            closing.answer(LogClosed())

    def _close(self) -> None:
        """Record the clean close. Runs when nothing is in flight, so waiting for the disk here delays nobody."""
        try:
            if self._group.unsynced_bytes:
                file = self._open_file()
                file.sync()
                file.require_name()
                self._group.synced_for_close()
            frame = self._group.close_frame()
            if frame is None:
                self._note_time()
            else:
                self._note_close(frame)
        finally:
            self.release()

    def _note_close(self, frame: bytes) -> None:
        """Mark the clean close. Without the marks, the next opening looks for a torn tail; no more was promised."""
        file = self._open_file()
        number, end = self._group.position
        version, now_us = self._group.version, self._clock.now_us()
        closed = Manifest(ManifestState.CLOSED, number, self._salt, end + len(frame), version, now_us)
        try:
            file.append(frame)
        except StorageError as error:
            log.warning("close_mark_missing", error=str(error))
            return
        try:
            file.sync()
            file.require_name()
        except FileDeletedError as error:
            raise storage_error(error, "its file") from error
        except OSError as error:
            # A failing disk is worth an error, even if no data is lost.
            what = storage_error(error, "its file")
            lacking = f"the mark of the close could not be made durable: {what}; all commits are"
            raise StorageError(lacking) from error
        try:
            write_manifest(self._disk, closed)
        except (StorageError, OSError) as error:
            log.warning("close_mark_missing", error=str(error))

    def _note_time(self) -> None:
        """Record the time reached in the manifest, if nothing else was written, so that expired keys stay expired."""
        time_us = self._clock.floor_us
        try:
            manifest = read_manifest(self._disk)
            if manifest is not None and manifest.written_at_us < time_us:
                write_manifest(self._disk, replace(manifest, written_at_us=time_us))
        except (StorageError, OSError) as error:
            log.warning("close_time_missing", error=str(error))

    def release(self) -> None:
        """Release the segment. The supervisor calls this for a halted core, when nobody syncs the segment any more."""
        self._replace_file(None)
