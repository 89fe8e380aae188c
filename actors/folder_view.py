"""A database's folder as it stood at one moment, for reading it while its owner goes on writing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inmem.engine.errors import StorageError
from inmem.engine.log_folder import FolderContents, checkpoint_name, segment_name

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

VIEW_ATTEMPTS = 1_000
"""How often the folder is listed anew because it changed between two looks. Opening its files takes far less time than
any checkpoint, so that one change is rare and two in a row are rarer."""

_PIECE_BYTES = 1 << 24


class FolderView:
    """The segments and checkpoints of a folder, all opened at one moment. A context manager; its end closes them.

    A checkpoint may come and take segments away while somebody reads: what was opened stays readable.

    Args:
        path: the folder.

    Raises:
        OSError: it cannot be read.
        StorageError: it never stood still.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptors: dict[str, int] = {}
        for _ in range(VIEW_ATTEMPTS):
            names = _names_of_data(path)
            try:
                for name in names:
                    self._descriptors[name] = os.open(os.path.join(path, name), os.O_RDONLY | os.O_CLOEXEC)
                if _names_of_data(path) == names:
                    return
            except FileNotFoundError:
                # Removed since it was listed.
                pass
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
        """Return the names of the segments and checkpoints, sorted."""
        return sorted(self._descriptors)

    def read(self, name: str, offset: int = 0) -> bytes:
        """Return the content of a file from `offset` on, as far as it has been written by now.

        Raises:
            StorageError: it cannot be read.
        """
        try:
            return read_from(self._descriptors[name], offset)
        except OSError as error:
            raise StorageError(f"{self._path}/{name}: {error.strerror}") from error

    def close(self) -> None:
        """Close the files."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_from(descriptor: int, offset: int) -> bytes:
    """Return what a file holds from `offset` on."""
    pieces: list[bytes] = []
    # No more is asked for than is there: the room for it is taken in advance.
    while (left := os.fstat(descriptor).st_size - offset) > 0:
        piece = os.pread(descriptor, min(left, _PIECE_BYTES), offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def _names_of_data(path: str) -> list[str]:
    contents = FolderContents.of(os.listdir(path))
    return [*map(checkpoint_name, contents.checkpoints), *map(segment_name, contents.segments)]
