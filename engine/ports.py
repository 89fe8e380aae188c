"""Protocols for what the pure layers need from the outside world: clock, disk and randomness.

In production they are implemented by the machine's own, in the simulation by simulated ones. No layer below the actors
uses the real ones directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Clock(Protocol):
    """Time, in the two forms that the store uses."""

    def now_us(self) -> int:
        """Return wall-clock time in microseconds since the epoch. It may step back."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds from an arbitrary start that never decrease."""
        ...


class Entropy(Protocol):
    """Random bits for ids, salts and jitter, from a generator seeded once: suitable for uniqueness, not for secrets."""

    def bits(self, count: int) -> int:
        """Return an integer of `count` random bits."""
        ...

    def uniform(self) -> float:
        """Return a float in [0, 1)."""
        ...


class AppendFile(Protocol):
    """A file that only grows, written without buffering in this process."""

    @property
    def size(self) -> int:
        """Bytes written so far, whether durable or not."""
        ...

    def append(self, data: bytes) -> None:
        """Write all of `data` at the end, or nothing.

        Raises:
            DiskFullError: the disk has no space; the file is unchanged.
            StorageError: the write failed for another reason; the file is unchanged.
            OSError: the write failed and could not be undone.
        """
        ...

    def sync(self) -> None:
        """Make every byte written before the call durable (fdatasync), or raise OSError, also if it was deleted."""
        ...

    def require_name(self) -> None:
        """Raise OSError if the file's name is gone or belongs to another file. Makes the next sync more expensive."""
        ...

    def close(self) -> None:
        """Release the descriptor; idempotent and without a sync."""
        ...


class ReadFile(Protocol):
    """A file that is read in pieces. Its content stays readable while it is open, even if the file is deleted."""

    @property
    def size(self) -> int:
        """Size of the file in bytes when it was opened."""
        ...

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, zeros for bytes truncated since opening; or raise StorageError."""
        ...

    def close(self) -> None:
        """Release the descriptor; idempotent."""
        ...


class Folder(Protocol):
    """The operations needed to read a database's folder. Names are plain file names chosen by the store."""

    @property
    def path(self) -> str:
        """The folder's path, for messages."""
        ...

    def names(self) -> list[str]:
        """Return the names in the folder, sorted."""
        ...

    def open(self, name: str) -> ReadFile:
        """Open a file for reading in pieces."""
        ...


class Disk(Folder, Protocol):
    """One database's folder, with the operations of its owner."""

    def view(self) -> AbstractContextManager[Folder]:
        """Return the present files of the log; they stay readable even if they are removed in the meantime."""
        ...

    def create(self, name: str) -> AppendFile:
        """Create a file that must not exist yet. Its name is durable only after `sync_names`."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Rename a file, atomically replacing any file with the new name."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file."""
        ...

    def truncate(self, name: str, size: int) -> None:
        """Truncate a file to `size` bytes, and make the result durable."""
        ...

    def sync_names(self) -> None:
        """Make created, renamed and removed names durable (fsync of the folder)."""
        ...

    def close(self) -> None:
        """Release the ownership lock; idempotent."""
        ...
