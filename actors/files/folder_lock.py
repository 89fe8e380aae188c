"""Ownership of a database's folder: one process owns it, by a lock on its LOCK file and one on the folder itself."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import weakref

from inmem.actors.dispatch.taking import holding
from inmem.actors.files.system_calls import (
    FILE_MODE,
    close_descriptor,
    guarded,
    open_to_read,
    require_regular,
    storage_error,
    sync_folder,
)
from inmem.engine.errors import DatabaseLockedError, StorageError

LOCK_NAME = "LOCK"
_OPEN_HERE = (
    "that is this very process: share the handle that it has open, between threads too, or close it first; "
    "one that was dropped without close() keeps its lock until the process ends"
)
_SOMEBODY = "a process that holds the folder, though not its LOCK file"

_opening = threading.RLock()
"""Held while a descriptor is being opened and recorded. A child that another thread forks in between would keep the
descriptor open, and with it the lock. Reentrant, because the holder itself may fork meanwhile, for example in a signal
handler."""
os.register_at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_opening.release)


class FolderLock:
    """This process's locks on one folder; initially none.

    Args:
        path: the folder.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1
        self._folder = -1
        # Before anything is opened, because another thread may fork while that happens.
        _held.add(self)

    def own(self) -> None:
        """Become the owner. Creates the LOCK file if it is missing.

        Raises:
            DatabaseLockedError: the folder already has an owner.
            ReadOnlyError, StorageError: the operating system refuses.
        """
        path = os.path.join(self._path, LOCK_NAME)
        flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC

        def open_file() -> None:
            self._file = guarded(lambda: os.open(path, flags, FILE_MODE), self._path)

        holding(_opening, open_file)
        try:
            require_regular(path, self._file)
        except StorageError:
            self.abandon()
            raise
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            refusal = self._refusal(self._file)
            self.abandon()
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                raise refusal from None
            raise storage_error(error, self._path) from error
        self._lock_folder(fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            # A note for people. A full disk must not prevent opening the database.
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, _this_process().encode(), 0)

    def keep_owners_away(self) -> None:
        """Prevent any process from becoming the owner, without changing anything in the folder.

        Raises:
            DatabaseLockedError: the folder has an owner.
        """
        self._lock_folder(fcntl.LOCK_SH)

    def require_place(self) -> None:
        """Check that the path still leads to the locked folder.

        Raises:
            StorageError: the folder was moved or replaced; a folder now at the path may have another owner.
        """
        # Read only once, because another thread may release the lock meanwhile.
        folder = self._folder
        if folder < 0:
            return
        locked, found = guarded(lambda: (os.fstat(folder), os.stat(self._path)), self._path, reads=True)
        if not os.path.samestat(locked, found):
            raise StorageError(f"{self._path}: the folder was moved or replaced while the database was open")

    def sync_folder(self) -> None:
        """Make the names in the folder durable. While the folder is locked, this opens no descriptor.

        Raises:
            OSError: the operating system refuses.
        """
        folder = self._folder
        if folder < 0:
            sync_folder(self._path)
        else:
            os.fsync(folder)

    def release(self) -> None:
        """Release the locks. The LOCK file stays: unlinking it would let two owners lock different files."""
        for descriptor in (self._file, self._folder):
            if descriptor >= 0:
                # Closing the descriptor is not enough, because a forked child may hold a copy. If unlocking fails,
                # nothing is left but to close it.
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
        self.abandon()

    def abandon(self) -> None:
        """Close this process's lock descriptors without unlocking: after a fork, the parent still owns the locks."""
        locks = self._file, self._folder
        self._file = self._folder = -1
        for descriptor in locks:
            if descriptor >= 0:
                close_descriptor(descriptor)

    def _lock_folder(self, kind: int) -> None:
        """Lock the folder itself too: if LOCK is deleted while it is held, another process could lock a new one.

        On file systems that cannot lock folders, such as NFS, only LOCK is locked.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

        def open_folder() -> None:
            self._folder = guarded(lambda: os.open(self._path, flags), self._path, reads=True)

        try:
            holding(_opening, open_folder)
        except StorageError:
            # The caller gets an exception instead of an object to close, so release the LOCK file here.
            self.abandon()
            raise
        try:
            fcntl.flock(self._folder, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            # If this process has locked the LOCK file, the folder's holder does not hold it, and no note names it.
            refusal = DatabaseLockedError(self._path, _SOMEBODY) if self._file >= 0 else self._refusal_by_holder()
            self.abandon()
            raise refusal from None
        except OSError:
            descriptor, self._folder = self._folder, -1
            close_descriptor(descriptor)

    def _refusal_by_holder(self) -> DatabaseLockedError:
        """Return the error that names the holder of the folder, if it also holds the LOCK file."""
        descriptor = -1
        try:
            descriptor = open_to_read(os.path.join(self._path, LOCK_NAME))
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._refusal(descriptor)
        except (OSError, StorageError):
            # LOCK was deleted, is unreadable, or is not a regular file. Like one without a holder, it names no owner.
            pass
        finally:
            if descriptor >= 0:
                close_descriptor(descriptor)
        return DatabaseLockedError(self._path, _SOMEBODY)

    def _refusal(self, descriptor: int) -> DatabaseLockedError:
        """Return the error that names the holder of the LOCK file, from the note in it."""
        owner = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"
        if owner == _this_process():
            return DatabaseLockedError(self._path, owner, _OPEN_HERE)
        return DatabaseLockedError(self._path, owner)


def _this_process() -> str:
    return f"process {os.getpid()}"


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    # The parent remains the owner. If it dies, its lock must not live on in the child.
    for lock in tuple(_held):
        lock.abandon()
    _held.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
