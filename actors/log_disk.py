"""The actor that waits for the disk, so that no other has to: syncs and new segments. It has a thread of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.actor import StoreActor
from inmem.actors.messages.core import SegmentRefused, SegmentStarted, StartSegment, Sync, Synced
from inmem.engine.errors import InvariantError, StorageError
from inmem.engine.log_folder import TEMPORARY_SUFFIX, segment_name
from inmem.engine.manifest import MANIFEST_NAME, Manifest, ManifestState

if TYPE_CHECKING:
    from inmem.actors.mailbox import Mailbox, MailboxRef
    from inmem.engine.log_format import SegmentHeader
    from inmem.engine.ports import AppendFile, Clock, Disk


class LogDisk(StoreActor):
    """Carries out the log writer's blocking operations, one after the other.

    A sync that fails raises, and so ends this actor and with it the core: after a failed fsync nothing can be known by
    trying again, only by reading what is there.
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


def create_segment(disk: Disk, header: SegmentHeader, frames: bytes = b"") -> AppendFile:
    """Create a segment durably: content first, then its name, then the manifest that tells of it.

    Args:
        disk: the folder.
        header: the facts the segment starts with.
        frames: what follows the header at once.

    Raises:
        StorageError: nothing of the segment is left, durably: the one before can be continued.
        OSError: nobody knows what is left. A segment that comes back after a crash would make void whatever was
            appended to the one before since, so nothing may be.
    """
    name = segment_name(header.number)
    # A header that carries frames over makes void what they were in the segment before: the one must not be seen
    # without the others. So such a segment gets its name when all of it is durable.
    first_name = name + TEMPORARY_SUFFIX if frames else name
    if first_name != name and first_name in disk.names():
        disk.remove(first_name)
    file = disk.create(first_name)
    made = first_name
    try:
        file.append(header.encode() + frames)
        file.sync()
        if first_name != name:
            disk.rename(first_name, name)
            made = name
        disk.sync_names()
        opened = Manifest(ManifestState.OPEN, header.number, header.salt, 0, header.base_version, header.created_at_us)
        _prepare_file(disk, MANIFEST_NAME, opened.encode())
    except BaseException as error:
        file.close()
        try:
            # Without looking what is there, for which no descriptor may be left.
            disk.remove(made)
            disk.sync_names()
        except StorageError as second:
            raise OSError(f"{name} could not be created ({error}), nor removed again: {second}") from error
        raise
    try:
        _install_file(disk, MANIFEST_NAME)
    except StorageError as error:
        file.close()
        raise OSError(f"nobody knows whether the manifest names {name} now: {error}") from error
    return file


def write_manifest(disk: Disk, manifest: Manifest) -> None:
    """Replace the manifest, durably.

    Raises:
        StorageError, OSError: it is the old one or the new one.
    """
    write_file(disk, MANIFEST_NAME, manifest.encode())


def write_file(disk: Disk, name: str, content: bytes) -> None:
    """Replace a small file, or create it, durably.

    Raises:
        StorageError, OSError: it is the old one or the new one.
    """
    _prepare_file(disk, name, content)
    _install_file(disk, name)


def _prepare_file(disk: Disk, name: str, content: bytes) -> None:
    temporary = name + TEMPORARY_SUFFIX
    if temporary in disk.names():
        disk.remove(temporary)
    file = disk.create(temporary)
    try:
        file.append(content)
        file.sync()
    finally:
        file.close()


def _install_file(disk: Disk, name: str) -> None:
    disk.rename(name + TEMPORARY_SUFFIX, name)
    disk.sync_names()
