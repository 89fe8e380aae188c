"""Calls of the operating system: repeated when interrupted, their refusals turned into the store's own errors."""

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
    """Return what `operation` returns, called again for as long as it is interrupted.

    Args:
        operation: some calls of the operating system.
        path: for messages, if the system names no file.
        reads: it changes nothing, so that a right that is missing is not that to write.

    Raises:
        StorageError: it was refused.
    """
    while True:
        try:
            return operation()
        except InterruptedError:
            # Python itself repeats most calls, but not those that take or list names.
            continue
        except OSError as error:
            raise storage_error(error, path, reads=reads) from error


def storage_error(error: OSError, path: str, *, reads: bool = False) -> StorageError:
    """Return the error of ours that stands for an operating system's refusal of a write, or, if so told, of a read."""
    text = f"{error.filename or path}: {error.strerror}"
    if error.errno in _FULL:
        return DiskFullError(text)
    if not reads and error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return ReadOnlyError(text)
    return StorageError(text)


def open_to_read(path: str) -> int:
    """Open a file that is only read; return its descriptor.

    If a named pipe were in its place, opening it would wait for somebody who writes to it, and what is read of a device
    need not end. So whatever is no regular file is refused, and nothing waits.

    Raises:
        StorageError: it is no regular file.
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
    """Return only if what is open is a regular file.

    Raises:
        StorageError: it is something else; the message names the path.
    """
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise StorageError(f"{path}: is not a regular file")


def with_descriptor(path: str, flags: int, use: Callable[[int], T]) -> T:
    """Open a file, use its descriptor, and close it."""
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        return use(descriptor)
    finally:
        close_descriptor(descriptor)


def sync_folder(path: str) -> None:
    """Make created, renamed and removed names in a folder durable."""
    with_descriptor(path, os.O_RDONLY | os.O_DIRECTORY, os.fsync)


def close_descriptor(descriptor: int) -> None:
    """Close a descriptor, once.

    Whatever close answers, the descriptor is gone, and trying again could close somebody else's. What was to be durable
    has been synced before, so there is nothing in an error here that anybody has to know.
    """
    with contextlib.suppress(OSError):
        os.close(descriptor)


def absolute(path: str) -> str:
    """Return the path as it stands in the root folder: the program may change its working directory later.

    It is not normalized: what `..` means behind a symbolic link, only the operating system knows.

    Raises:
        StorageError: the path is relative, and the working directory was removed.
    """
    return path if os.path.isabs(path) else os.path.join(guarded(os.getcwd, path, reads=True), path)


def mode_of(path: str) -> int | None:
    """Return what kind of file a path leads to, None if it leads nowhere. A dangling link is what it is, a link."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        try:
            return os.lstat(path).st_mode
        except FileNotFoundError:
            return None
