"""A database's folder as it was at one moment, to be read while its owner continues to write."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inmem.actors.files.system_calls import close_descriptor, guarded, open_to_read
from inmem.engine.errors import StorageError
from inmem.engine.log.log_folder import FolderContents, names_of_data

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

VIEW_ATTEMPTS = 1_000
"""How often to list the folder again because it changed while its files were opened. Opening them takes far less time
than a checkpoint, so one change is rare and two in a row are rarer."""


class PiecewiseFile:
    """One file that is only read. See `inmem.engine.ports.ReadFile` for the contract.

    Args:
        path: for error messages.
        descriptor: owned by this object from now on.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    @property
    def size(self) -> int:
        """Size in bytes when the file was opened."""
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset` on.

        The owner may truncate reserved space, or a tail that does not count. A reader that opened the file before gets
        zeros in their place. If bytes that count are missing, the checksums reveal it.

        Raises:
            StorageError: the operating system refused.
        """
        data = self._read(offset, size)
        while len(data) < size:
            # One call returns at most two gigabytes.
            more = self._read(offset + len(data), size - len(data))
            if not more:
                return data.ljust(size, b"\x00")
            data += more
        return data

    def close(self) -> None:
        """Close the descriptor."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            close_descriptor(descriptor)

    def _read(self, offset: int, size: int) -> bytes:
        return guarded(lambda: os.pread(self._descriptor, size, offset), self._path, reads=True)

    def __del__(self) -> None:
        # A generator that is abandoned halfway does not reach its call of `close`.
        self.close()


class FolderView:
    """The segments, checkpoints and manifest of a folder, all opened at one moment. A context manager.

    A checkpoint may remove segments during the read, but open files stay readable. Torn tails that were kept aside, of
    which there may be many, are opened only when they are read: the store never removes them.

    Args:
        path: the folder.

    Raises:
        OSError: the folder cannot be read.
        StorageError: the folder kept changing, or one of the files is not a regular file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptors: dict[str, int] = {}
        self._torn: tuple[str, ...] = ()
        for _ in range(VIEW_ATTEMPTS):
            names = names_of_data(os.listdir(path))
            try:
                # The manifest is last in `names` but must be opened first, so that every segment it names is here.
                for name in reversed(names):
                    self._descriptors[name] = open_to_read(os.path.join(path, name))
                listed = os.listdir(path)
                if names_of_data(listed) == names:
                    self._torn = FolderContents.of(listed).torn
                    return
            except FileNotFoundError as error:
                # Either the file was removed after it was listed, or it is a dangling link: then a retry is useless.
                if os.path.islink(error.filename):
                    self.close()
                    raise
            except BaseException:
                self.close()
                raise
            self.close()
        raise StorageError(f"{path}: its files change faster than they can be opened")

    @property
    def path(self) -> str:
        """The folder's path, as it was given."""
        return self._path

    def names(self) -> list[str]:
        """Return the names of the files that can be opened, sorted."""
        return sorted((*self._descriptors, *self._torn))

    def open(self, name: str) -> PiecewiseFile:
        """Return a file, as far as it has been written by now, to be read in pieces.

        Raises:
            StorageError: the file cannot be read.
        """
        path = f"{self._path}/{name}"
        if name in self._torn:
            return guarded(lambda: PiecewiseFile(path, open_to_read(path)), path, reads=True)
        return guarded(lambda: PiecewiseFile(path, os.dup(self._descriptors[name])), path, reads=True)

    def close(self) -> None:
        """Close the files."""
        while self._descriptors:
            close_descriptor(self._descriptors.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
