"""An append-only log file: raw descriptor, complete writes, space reserved ahead.

Nothing is buffered in this process: when `append` returns, the operating system has the data. A failed write is
truncated away, so the file holds only whole groups.
"""

from __future__ import annotations

import contextlib
import errno
import os

from inmem.actors.files.system_calls import close_descriptor, storage_error

RESERVE_BYTES = 256 * 1024
"""Space that a segment reserves ahead: some 1,500 small commits, yet little for a database that hardly writes."""


class FileDeletedError(OSError):
    """A log file lost its name while it was open for writing: its content vanishes when its descriptor is closed.

    Every sync detects that no file has the name any more. Only a close detects that another file has it.
    """


class LogFile:
    """One file that only grows. See `inmem.engine.ports.AppendFile` for the contract.

    Args:
        path: for error messages, and to check that the file still exists.
        descriptor: open for writing; owned by this object from now on.
        reserve_bytes: space to reserve ahead of the written data. A sync after a write into reserved space need not
            record a new size, which halves its cost on ext4. Until the file is closed, it then ends in zeros.
    """

    # For `close` on an object whose __init__ was cut short by an asynchronous exception.
    _descriptor = -1

    def __init__(self, path: str, descriptor: int, reserve_bytes: int = 0) -> None:
        self._descriptor = descriptor
        self._path = path
        self._owner = os.getpid()
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
            DiskFullError: the disk is full; the file is unchanged.
            StorageError: the write failed for another reason; the file is unchanged.
            OSError: the write failed and could not be undone; the error names the file.
        """
        if self._reserve_bytes and self._size and self._size + len(data) > self._reserved_end:
            self._reserve(len(data))
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, memoryview(data)[written:])
        except OSError as error:
            # The truncation must be durable before anything is written in its place. Otherwise, after a crash, the end
            # of the failed write could reappear behind a shorter write and pass for a commit.
            try:
                os.ftruncate(self._descriptor, self._size)
                os.lseek(self._descriptor, self._size, os.SEEK_SET)
                os.fsync(self._descriptor)
            except OSError as second:
                second.filename = self._path
                raise
            self._reserved_end = self._size
            raise storage_error(error, self._path) from error
        self._size += written

    def sync(self) -> None:
        """Make every byte written so far durable.

        Raises:
            OSError: it is unknown what is durable now; the error names the file. Calling again proves nothing.
            FileDeletedError: no file has the name any more, so durable data would never be found. Only `require_name`
                detects that another file has the name.
        """
        try:
            os.fdatasync(self._descriptor)
            # Check the name first: since Linux 6.13, an fstat makes the file's next write record a new time, which
            # makes the next sync half as expensive again.
            is_gone = not os.access(self._path, os.F_OK) and not os.fstat(self._descriptor).st_nlink
        except OSError as error:
            error.filename = self._path
            raise
        if is_gone:
            raise self._deleted()

    def require_name(self) -> None:
        """Check that the file itself still has a name, whichever file has the name under which it was created.

        Raises:
            FileDeletedError: the file has no name.
            OSError: the check failed; the error names the file.
        """
        try:
            is_gone = not os.fstat(self._descriptor).st_nlink
        except OSError as error:
            error.filename = self._path
            raise
        if is_gone:
            raise self._deleted()

    def _deleted(self) -> FileDeletedError:
        return FileDeletedError(errno.ENOENT, "was deleted while the database was open", self._path)

    def close(self) -> None:
        """Give back the reserved space and close the descriptor."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # A forked child must not truncate: the file belongs to the parent, and may have grown since the fork.
            if self._reserved_end > self._size and self._owner == os.getpid():
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, self._size)
            close_descriptor(descriptor)

    def _reserve(self, size: int) -> None:
        """Reserve space for `size` bytes and `reserve_bytes` more. If that is impossible, writing continues without."""
        start = max(self._size, self._reserved_end)
        length = self._size + size - start + self._reserve_bytes
        try:
            os.posix_fallocate(self._descriptor, start, length)
        except (OSError, AttributeError):
            # A nearly full disk, a limit, or a file system or operating system without support.
            self._reserve_bytes = 0
        else:
            self._reserved_end = start + length

    def __del__(self) -> None:
        # Nobody closes a file that was in a message to an actor that has failed.
        self.close()
