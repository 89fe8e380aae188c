"""Files that are whole or not there at all, whenever the power fails: content first, then the name, then the folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.engine.errors import StorageError
from inmem.engine.log.log_folder import MANIFEST_NAME, TEMPORARY_SUFFIX, segment_name
from inmem.engine.log.manifest import Manifest, ManifestState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inmem.engine.log.log_format import SegmentHeader
    from inmem.engine.ports import AppendFile, Disk


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
        write_temporary(disk, MANIFEST_NAME, (opened.encode(),))
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
        install_temporary(disk, MANIFEST_NAME)
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
    write_temporary(disk, name, (content,))
    install_temporary(disk, name)


def write_temporary(disk: Disk, name: str, pieces: Iterable[bytes]) -> int:
    """Write what is to become the file `name`, in place of what an earlier attempt has left of it; return its size.

    Raises:
        StorageError, OSError: some of it may be there, under its temporary name.
    """
    temporary = name + TEMPORARY_SUFFIX
    if temporary in disk.names():
        disk.remove(temporary)
    return write_new(disk, temporary, pieces)


def install_temporary(disk: Disk, name: str) -> None:
    """Give what `write_temporary` has written its name, durably.

    Raises:
        StorageError: it may have the name or not, or have it until a power failure.
    """
    disk.rename(name + TEMPORARY_SUFFIX, name)
    disk.sync_names()


def write_new(disk: Disk, name: str, pieces: Iterable[bytes]) -> int:
    """Write a file that must not exist yet, durable but for its name; return its size.

    Raises:
        StorageError, OSError: some of it may be there.
    """
    file = disk.create(name)
    try:
        for piece in pieces:
            file.append(piece)
        file.sync()
    finally:
        file.close()
    return file.size
