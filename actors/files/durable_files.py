"""Writing files that are complete or absent after a power failure: content first, then the name, then the folder."""

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
    """Create a segment durably: first its content, then its name, then the manifest that names it.

    Args:
        disk: the folder.
        header: the facts the segment starts with.
        frames: frames to write directly after the header.

    Raises:
        StorageError: nothing of the segment remains, durably: the previous one can be continued.
        OSError: it is unknown what remains. Nothing may be appended to the previous segment: if the new one reappears
            after a crash, it makes everything appended since void.
    """
    name = segment_name(header.number)
    # If frames are carried over, the header makes their originals in the previous segment void, so it must never be
    # visible without them. Such a segment gets its name only when all of it is durable.
    first_name = name + TEMPORARY_SUFFIX if frames else name
    if first_name != name:
        remove_if_present(disk, first_name)
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
            # Without listing the folder first: there may be no free descriptor for that.
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
        StorageError, OSError: the file is either the old one or the new one.
    """
    write_file(disk, MANIFEST_NAME, manifest.encode())


def write_file(disk: Disk, name: str, content: bytes) -> None:
    """Replace or create a small file, durably.

    Raises:
        StorageError, OSError: the file is either the old one or the new one.
    """
    write_temporary(disk, name, (content,))
    install_temporary(disk, name)


def write_temporary(disk: Disk, name: str, pieces: Iterable[bytes]) -> int:
    """Write the temporary file for `name`, replacing the remains of an earlier attempt; return its size.

    Raises:
        StorageError, OSError: part of the file may exist under its temporary name.
    """
    temporary = name + TEMPORARY_SUFFIX
    remove_if_present(disk, temporary)
    return write_new(disk, temporary, pieces)


def install_temporary(disk: Disk, name: str) -> None:
    """Durably rename the file that `write_temporary` wrote to `name`.

    Raises:
        StorageError: the file may or may not have the name, or may lose it in a power failure.
    """
    disk.rename(name + TEMPORARY_SUFFIX, name)
    disk.sync_names()


def remove_if_present(disk: Disk, name: str) -> None:
    """Remove a file, though not durably, if there is one of that name.

    Raises:
        StorageError: the folder cannot be listed, or the file not removed.
    """
    if name in disk.names():
        disk.remove(name)


def write_new(disk: Disk, name: str, pieces: Iterable[bytes]) -> int:
    """Create and write a file that must not exist yet; return its size. The content is made durable, the name is not.

    Raises:
        StorageError, OSError: part of the file may exist.
    """
    file = disk.create(name)
    try:
        for piece in pieces:
            file.append(piece)
        file.sync()
    finally:
        file.close()
    return file.size
