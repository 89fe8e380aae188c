"""A file of the log, which only grows: raw descriptor, full writes, room claimed ahead.

Nothing is buffered in this process: what `append` has accepted is the operating system's, and a failed write is cut off
again, so that the file holds whole groups only.
"""

from __future__ import annotations

import contextlib
import errno
import os

from inmem.actors.files.system_calls import close_descriptor, storage_error

RESERVE_BYTES = 256 * 1024
"""Room that a segment claims ahead: some 1,500 small commits, and little for a database that hardly writes."""


class FileDeletedError(OSError):
    """A file of the log has lost its name while it was written to: what it holds ends with its descriptor.

    Each sync sees that nothing has the name any more; that another file has it is seen by a close alone.
    """


class LogFile:
    """One file that only grows. See `inmem.engine.ports.AppendFile` for the contract.

    Args:
        path: for messages, and to see whether it is still there.
        descriptor: open for writing; owned from now on.
        reserve_bytes: how much room to claim ahead of what is written. A sync after a write into claimed room does not
            have to record a new size, which halves its cost on ext4. Until the file is closed its end is zeros then.
    """

    # Of one that was not made to the end: somebody has struck the thread.
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
            DiskFullError: there is no room; the file is as it was.
            StorageError: the write failed otherwise; the file is as it was.
            OSError: the write failed and could not be undone; it names the file.
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
            OSError: it is not known what is durable now; it names the file. Calling again proves nothing.
            FileDeletedError: nothing has its name any more: whatever is durable, nobody will find it. That another file
                has the name is for `require_name` to see.
        """
        try:
            os.fdatasync(self._descriptor)
            # By its name first: a look at the file itself makes its next write record a new time, since Linux 6.13,
            # and that makes the next sync half as dear again.
            is_gone = not os.access(self._path, os.F_OK) and not os.fstat(self._descriptor).st_nlink
        except OSError as error:
            error.filename = self._path
            raise
        if is_gone:
            raise self._deleted()

    def require_name(self) -> None:
        """See that the file itself still has a name, whatever has the one that it was made under.

        Raises:
            FileDeletedError: it has none.
            OSError: it cannot be looked at; it names the file.
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
        """Give claimed room back and release the descriptor."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # In a forked child the file is the parent's, and has grown since.
            if self._reserved_end > self._size and self._owner == os.getpid():
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, self._size)
            close_descriptor(descriptor)

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
