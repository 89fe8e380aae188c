"""A database's folder on a real file system. Every new or removed name is made durable with an fsync of the folder."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, TypeVar

from inmem.actors.files import log_file
from inmem.actors.files.folder_lock import LOCK_NAME, FolderLock
from inmem.actors.files.folder_view import FolderView, PiecewiseFile
from inmem.actors.files.log_file import LogFile
from inmem.actors.files.system_calls import (
    FILE_MODE,
    FOLDER_MODE,
    absolute,
    guarded,
    mode_of,
    open_to_read,
    sync_folder,
    with_descriptor,
)
from inmem.engine.errors import DatabaseNotFoundError, InvariantError, StorageError
from inmem.engine.log.log_folder import SEGMENT_SUFFIX, FolderContents

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class FolderDisk:
    """One database's folder, owned by this object while it is open.

    Args:
        path: the folder.
        create: whether to create the folder if it is missing.
        read_only: read without becoming the owner, and refuse to write.

    Raises:
        DatabaseNotFoundError: the folder is missing and must not be created.
        DatabaseLockedError: the folder already has an owner.
        ReadOnlyError: the folder cannot be written to.
        StorageError: the path is not a folder, or the operating system refuses.
    """

    def __init__(self, path: str, *, create: bool = True, read_only: bool = False) -> None:
        self._path = path
        self._lock = FolderLock(path)
        mode = self._read(lambda: mode_of(path))
        if mode is None:
            if not create or read_only:
                raise DatabaseNotFoundError(path)
            self._guard(lambda: _make_folders(absolute(path)))
        elif not stat.S_ISDIR(mode):
            raise StorageError(f"{path} is a file; a database is a folder")
        if read_only or not create:
            self._require_database()
        if not read_only:
            self._lock.own()

    @property
    def path(self) -> str:
        """The folder's path, as it was given."""
        return self._path

    def names(self) -> list[str]:
        """Return the names in the folder, sorted."""
        self._lock.require_place()
        return sorted(self._read(lambda: os.listdir(self._path)))

    def view(self) -> FolderView:
        """Return a view of the log's current files. They stay readable even if the owner removes them.

        Raises:
            DatabaseNotFoundError: the folder is not a database, or no longer.
            StorageError: the files cannot be opened.
        """
        self._require_database()
        return self._read(lambda: FolderView(self._path))

    def open(self, name: str) -> PiecewiseFile:
        """Open a file to read it in pieces.

        Raises:
            StorageError: the file is not a regular file, or the operating system refuses.
        """
        path = self._join(name)
        return PiecewiseFile(path, self._read(lambda: open_to_read(path)))

    def create(self, name: str) -> LogFile:
        """Create a file that must not exist yet."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        path = self._join(name)
        reserve_bytes = log_file.RESERVE_BYTES if name.endswith(SEGMENT_SUFFIX) else 0
        return LogFile(path, self._guard(lambda: os.open(path, flags, FILE_MODE)), reserve_bytes)

    def rename(self, old: str, new: str) -> None:
        """Rename a file."""
        self._guard(lambda: os.rename(self._join(old), self._join(new)))

    def remove(self, name: str) -> None:
        """Delete a file."""
        self._guard(lambda: os.unlink(self._join(name)))

    def truncate(self, name: str, size: int) -> None:
        """Truncate a file to `size` bytes, and make them durable."""
        self._guard(lambda: with_descriptor(self._join(name), os.O_WRONLY, lambda fd: _cut(fd, size)))

    def sync_names(self) -> None:
        """Make created, renamed and removed names durable."""
        self._guard(self._lock.sync_folder)

    def keep_owners_away(self) -> None:
        """Prevent any process from owning the folder while this object reads it, without changing anything in it.

        Raises:
            DatabaseLockedError: the folder has an owner.
        """
        self._lock.keep_owners_away()

    def close(self) -> None:
        """Release the folder."""
        self._lock.release()

    def _require_database(self) -> None:
        names = self.names()
        contents = FolderContents.of(names)
        # A folder whose LOCK file was deleted, or left out of a backup, is still a database.
        if LOCK_NAME not in names and not contents.segments and not contents.checkpoints:
            raise DatabaseNotFoundError(self._path, "the folder has neither a LOCK file nor a log")

    def _join(self, name: str) -> str:
        if os.sep in name or name in {"", ".", ".."}:
            raise InvariantError(f"{name!r} is not a plain file name")
        self._lock.require_place()
        return os.path.join(self._path, name)

    def _read(self, operation: Callable[[], T]) -> T:
        return guarded(operation, self._path, reads=True)

    def _guard(self, operation: Callable[[], T]) -> T:
        return guarded(operation, self._path)


def _cut(descriptor: int, size: int) -> None:
    os.ftruncate(descriptor, size)
    os.fsync(descriptor)


def _make_folders(path: str) -> None:
    """Create the folder and its missing parents, all durably."""
    if not os.path.isdir(path):
        parent = os.path.dirname(path)
        _make_folders(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, FOLDER_MODE)
        sync_folder(parent)
