"""System calls: repeated when interrupted, with their errors converted to the store's own."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, TypeVar

from inmem.engine.errors import DiskFullError, ReadOnlyError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

FILE_MODE = 0o600
FOLDER_MODE = 0o700

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def guarded(operation: Callable[[], T], path: str, *, reads: bool = False) -> T:
    """Return the result of `operation`, which is called again whenever it is interrupted.

    Args:
        operation: makes the system calls.
        path: for error messages, if the operating system names no file.
        reads: whether it changes nothing; a missing permission is then not reported as ReadOnlyError.

    Raises:
        StorageError: the operating system refused.
    """
    while True:
        try:
            return operation()
        except InterruptedError:
            # Python itself repeats most interrupted calls, but not those that take or list names.
            continue
        except OSError as error:
            raise storage_error(error, path, reads=reads) from error


def storage_error(error: OSError, path: str, *, reads: bool = False) -> StorageError:
    """Return the store's own error for an OSError of a write, or of a read if `reads`."""
    text = f"{error.filename or path}: {error.strerror}"
    if error.errno in _FULL:
        return DiskFullError(text)
    if not reads and error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return ReadOnlyError(text)
    return StorageError(text)


def open_to_read(path: str) -> int:
    """Open a file for reading; return its descriptor.

    Never blocks, and refuses anything but a regular file: opening a named pipe would wait for a writer, and reading a
    device may never end.

    Raises:
        StorageError: the file is not a regular file.
        OSError: the operating system refuses.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        require_regular(path, descriptor)
    except BaseException:
        close_descriptor(descriptor)
        raise
    return descriptor


def require_regular(path: str, descriptor: int) -> None:
    """Raise StorageError unless the descriptor is that of a regular file.

    Raises:
        StorageError: it is something else; the message names the path.
    """
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise StorageError(f"{path}: is not a regular file")


def with_descriptor(path: str, flags: int, use: Callable[[int], T]) -> T:
    """Open a file, call `use` with its descriptor, close it, and return the result."""
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        return use(descriptor)
    finally:
        close_descriptor(descriptor)


def sync_folder(path: str) -> None:
    """Make the created, renamed and removed names in a folder durable."""
    with_descriptor(path, os.O_RDONLY | os.O_DIRECTORY, os.fsync)


def close_descriptor(descriptor: int) -> None:
    """Close a descriptor, once.

    The descriptor is gone even if `close` reports an error, and a second attempt could close another thread's new
    descriptor. Data that must be durable has been synced before, so the error can be ignored.
    """
    with contextlib.suppress(OSError):
        os.close(descriptor)


def absolute(path: str) -> str:
    """Return the path as an absolute path, because the program may change its working directory later.

    The path is not normalized: only the operating system knows what `..` means after a symbolic link.

    Raises:
        StorageError: the path is relative, and the working directory was removed.
    """
    return path if os.path.isabs(path) else os.path.join(guarded(os.getcwd, path, reads=True), path)


def mode_of(path: str) -> int | None:
    """Return the mode of the file that a path leads to, None if there is none. A dangling link yields its own mode."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        try:
            return os.lstat(path).st_mode
        except FileNotFoundError:
            return None
