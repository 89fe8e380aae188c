"""A database's folder on a real file system: raw descriptors, full writes, and one owner.

Nothing is buffered in this process: what `append` has accepted is the operating system's, and a failed write is cut
off again, so that the file holds whole groups only. Every new or removed name is made durable with an fsync of
the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import weakref
from typing import TYPE_CHECKING, TypeVar

from inmem.actors.folder_view import FolderView, PiecewiseFile
from inmem.engine.errors import (
    DatabaseLockedError,
    DatabaseNotFoundError,
    DiskFullError,
    InvariantError,
    ReadOnlyError,
    StorageError,
)
from inmem.engine.log_folder import SEGMENT_SUFFIX, FolderContents

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LOCK_NAME = "LOCK"
FILE_MODE = 0o600
FOLDER_MODE = 0o700
_NO_LOCK = f"the folder has no file {LOCK_NAME}, which every database has"
_OPEN_HERE = "that is this very process: share the handle that it has open, between threads too, or close it first"
RESERVE_BYTES = 256 * 1024
"""Room that a segment claims ahead: some 1,500 small commits, and little for a database that hardly writes."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class LogFile:
    """One file that only grows. See `inmem.engine.ports.AppendFile` for the contract.

    Args:
        path: for messages.
        descriptor: open for writing; owned from now on.
        reserve_bytes: how much room to claim ahead of what is written. A sync after a write into claimed room does not
            have to record a new size, which halves its cost on ext4. Until the file is closed its end is zeros then.
    """

    def __init__(self, path: str, descriptor: int, reserve_bytes: int = 0) -> None:
        self._path = path
        self._descriptor = descriptor
        self._size = 0
        self._reserve_bytes = reserve_bytes
        self._reserved_end = 0

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size

    def append(self, data: bytes) -> None:
        """Write all of `data`, or nothing.

        Raises:
            DiskFullError: there is no room; the file is as it was.
            StorageError: the write failed otherwise; the file is as it was.
            OSError: the write failed and could not be undone.
        """
        if self._reserve_bytes and self._size and self._size + len(data) > self._reserved_end:
            self._reserve(len(data))
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, memoryview(data)[written:])
        except OSError as error:
            # The cut must be durable before anything is written in its place: what was cut off could otherwise
            # come back behind a shorter write and pass for a commit.
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            os.fsync(self._descriptor)
            self._reserved_end = self._size
            raise storage_error(error, self._path) from error
        self._size += written

    def sync(self) -> None:
        """Make every byte written so far durable.

        Raises:
            OSError: it is not known what is durable now. Calling again proves nothing.
        """
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Give claimed room back and release the descriptor."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            if self._reserved_end > self._size:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, self._size)
            _close(descriptor)

    def _reserve(self, size: int) -> None:
        """Claim room for `size` bytes and more. Where that is not possible, writing goes on without."""
        start = max(self._size, self._reserved_end)
        length = self._size + size - start + self._reserve_bytes
        try:
            os.posix_fallocate(self._descriptor, start, length)
        except (OSError, AttributeError):
            # A disk that is nearly full, a limit, a file system or a system that knows nothing of it.
            self._reserve_bytes = 0
        else:
            self._reserved_end = start + length

    def __del__(self) -> None:
        # A file on its way to an actor that has failed is nobody's.
        self.close()


class FolderDisk:
    """One database's folder, owned by this object while it is open.

    Args:
        path: the folder.
        create: whether to make it when it is missing.
        read_only: read without owning, and refuse to write.

    Raises:
        DatabaseNotFoundError: it is missing and must not be made.
        DatabaseLockedError: somebody owns it.
        ReadOnlyError: the folder cannot be written to.
        StorageError: it is not a folder, or the operating system refuses.
    """

    def __init__(self, path: str, *, create: bool = True, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only
        self._lock = -1
        self._folder_lock = -1
        mode = self._guard(lambda: _mode_of(path))
        if mode is None:
            if not create or read_only:
                raise DatabaseNotFoundError(path)
            self._guard(lambda: _make_folders(os.path.abspath(path)))
        elif not stat.S_ISDIR(mode):
            raise StorageError(f"{path} is a file; a database is a folder")
        if read_only:
            # Whoever deletes LOCK has still left a database.
            names = self.names()
            contents = FolderContents.of(names)
            if LOCK_NAME not in names and not contents.segments and not contents.checkpoints:
                raise DatabaseNotFoundError(path, _NO_LOCK)
        else:
            self._acquire(create=create)
            _owners.add(self)

    @property
    def path(self) -> str:
        """The folder's path, as it was given."""
        return self._path

    def names(self) -> list[str]:
        """Return the names in the folder, sorted."""
        return sorted(self._guard(lambda: os.listdir(self._path)))

    def read(self, name: str) -> bytes:
        """Return the whole content of a file that is known to be small."""
        file = self.open(name)
        try:
            return file.read_at(0, file.size)
        finally:
            file.close()

    def view(self) -> FolderView:
        """Return the files of the log as they are now; they can be read whoever removes them meanwhile.

        Raises:
            StorageError: they cannot be opened.
        """
        return self._guard(lambda: FolderView(self._path))

    def open(self, name: str) -> PiecewiseFile:
        """Open a file to read it in pieces."""
        path = self._join(name)
        return PiecewiseFile(path, self._guard(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC)))

    def create(self, name: str) -> LogFile:
        """Create a file that must not exist yet."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        path = self._join(name)
        reserve_bytes = RESERVE_BYTES if name.endswith(SEGMENT_SUFFIX) else 0
        return LogFile(path, self._guard(lambda: os.open(path, flags, FILE_MODE)), reserve_bytes)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name."""
        self._guard(lambda: os.rename(self._join(old), self._join(new)))

    def remove(self, name: str) -> None:
        """Delete a file."""
        self._guard(lambda: os.unlink(self._join(name)))

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to `size` bytes, durably."""
        self._guard(lambda: _with_descriptor(self._join(name), os.O_WRONLY, lambda fd: _cut(fd, size)))

    def sync(self, name: str) -> None:
        """Make a file's content durable."""
        self._guard(lambda: _with_descriptor(self._join(name), os.O_RDONLY, os.fsync))

    def sync_names(self) -> None:
        """Make created, renamed and removed names durable."""
        self._guard(lambda: _sync_folder(self._path))

    def close(self) -> None:
        """Give up the locks. The LOCK file stays: unlinking it would let two owners lock different files."""
        for descriptor in (self._lock, self._folder_lock):
            if descriptor >= 0:
                # Closing the descriptor would not be enough: a forked child may hold a copy of it. Should unlocking
                # fail, closing is all that is left to do.
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
        self.abandon()

    def abandon(self) -> None:
        """Close this process's copies of the locks, without unlocking what another process owns."""
        locks = self._lock, self._folder_lock
        self._lock = self._folder_lock = -1
        for descriptor in locks:
            if descriptor >= 0:
                _close(descriptor)

    def _join(self, name: str) -> str:
        if os.sep in name or name in {"", ".", ".."}:
            raise InvariantError(f"{name!r} is not a plain file name")
        return os.path.join(self._path, name)

    def _guard(self, operation: Callable[[], T]) -> T:
        while True:
            try:
                return operation()
            except InterruptedError:
                # Python itself repeats most calls, but not those that take or list names.
                continue
            except OSError as error:
                raise storage_error(error, self._path) from error

    def _acquire(self, *, create: bool) -> None:
        path = self._join(LOCK_NAME)
        if not create and self._guard(lambda: _mode_of(path)) is None:
            raise DatabaseNotFoundError(self._path, _NO_LOCK)
        self._lock = self._guard(lambda: os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._lock, 200, 0).decode("utf-8", "replace").strip() or "another process"
            self.abandon()
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                if owner == _this_process():
                    raise DatabaseLockedError(self._path, owner, _OPEN_HERE) from None
                raise DatabaseLockedError(self._path, owner) from None
            raise storage_error(error, self._path) from error
        self._lock_folder(fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            # A note for people. A disk too full for it must not keep anybody from opening the database.
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, _this_process().encode(), 0)

    def keep_owners_away(self) -> None:
        """Let nobody own the folder while this object reads it, without changing anything in it.

        Raises:
            DatabaseLockedError: somebody owns it.
        """
        self._lock_folder(fcntl.LOCK_SH)

    def _lock_folder(self, kind: int) -> None:
        """Lock the folder itself as well: LOCK can be deleted while it is held, and then anybody could lock a new one.

        File systems that lock no folders, such as NFS, are left with LOCK alone.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            self._folder_lock = self._guard(lambda: os.open(self._path, flags))
        except StorageError:
            # Nobody gets this object, so nobody else would let go of the LOCK file.
            self.abandon()
            raise
        try:
            fcntl.flock(self._folder_lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            self.abandon()
            raise DatabaseLockedError(self._path, "a process that holds the folder, though not its LOCK file") from None
        except OSError:
            descriptor, self._folder_lock = self._folder_lock, -1
            _close(descriptor)


def _this_process() -> str:
    return f"process {os.getpid()}"


_owners: weakref.WeakSet[FolderDisk] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    # The parent stays the owner; should it die, its lock must not live on in the child.
    for disk in tuple(_owners):
        disk.abandon()
    _owners.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def storage_error(error: OSError, path: str) -> StorageError:
    """Return the error of ours that stands for an operating system's refusal."""
    text = f"{error.filename or path}: {error.strerror}"
    if error.errno in _FULL:
        return DiskFullError(text)
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return ReadOnlyError(text)
    return StorageError(text)


def _cut(descriptor: int, size: int) -> None:
    os.ftruncate(descriptor, size)
    os.fsync(descriptor)


def _make_folders(path: str) -> None:
    """Make the folder and whatever is missing above it, all durably."""
    if not os.path.isdir(path):
        parent = os.path.dirname(path)
        _make_folders(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, FOLDER_MODE)
        _sync_folder(parent)


def _sync_folder(path: str) -> None:
    _with_descriptor(path, os.O_RDONLY | os.O_DIRECTORY, os.fsync)


def _with_descriptor(path: str, flags: int, use: Callable[[int], T]) -> T:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        return use(descriptor)
    finally:
        _close(descriptor)


def _close(descriptor: int) -> None:
    # Whatever close answers, the descriptor is gone, and trying again could close somebody else's. What was to be
    # durable has been synced before, so there is nothing in an error here that anybody has to know.
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _mode_of(path: str) -> int | None:
    """Return what kind of file a path leads to, None if it leads nowhere. A dangling link is what it is, a link."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        try:
            return os.lstat(path).st_mode
        except FileNotFoundError:
            return None
