"""What the pure layers need from the outside world, as protocols.

Production supplies the machine's clock, disk and entropy; the simulator supplies its own. Nothing below the actors
reaches for the real ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Clock(Protocol):
    """Time, in the two forms the store uses."""

    def now_us(self) -> int:
        """Return wall-clock time in microseconds since the epoch. May step back."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds from an arbitrary start that never decrease."""
        ...


class Entropy(Protocol):
    """Random bits for ids, salts and jitter, from a generator that is seeded once: unique, not secret."""

    def bits(self, count: int) -> int:
        """Return an integer of `count` random bits."""
        ...

    def uniform(self) -> float:
        """Return a float in [0, 1)."""
        ...


class AppendFile(Protocol):
    """A file that only grows, written past every buffer of this process."""

    @property
    def size(self) -> int:
        """Bytes written so far, whether durable or not."""
        ...

    def append(self, data: bytes) -> None:
        """Write all of `data` at the end, or nothing.

        Raises:
            DiskFullError: there is no room; the file is as it was.
            StorageError: the write failed otherwise; the file is as it was.
            OSError: the write failed and could not be undone.
        """
        ...

    def sync(self) -> None:
        """Make every byte written before the call durable (fdatasync), or raise OSError; also if it was deleted."""
        ...

    def require_name(self) -> None:
        """Raise OSError if the file has no name any more, also if another has it now. Costs the next sync more."""
        ...

    def close(self) -> None:
        """Release the descriptor; idempotent and without a sync."""
        ...


class ReadFile(Protocol):
    """A file that is read in pieces. What is read of it stays there while it is open, even if its name goes."""

    @property
    def size(self) -> int:
        """Bytes in it when it was opened."""
        ...

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, zeros for those that were cut off meanwhile; or raise StorageError."""
        ...

    def close(self) -> None:
        """Release the descriptor; idempotent."""
        ...


class Folder(Protocol):
    """What reading a database's folder takes. Names are plain file names that the store itself made up."""

    @property
    def path(self) -> str:
        """The folder's path, for messages."""
        ...

    def names(self) -> list[str]:
        """Return the names in the folder, sorted."""
        ...

    def read(self, name: str) -> bytes:
        """Return the whole content of a file that is known to be small."""
        ...

    def open(self, name: str) -> ReadFile:
        """Open a file to read it in pieces."""
        ...


class Disk(Folder, Protocol):
    """One database's folder, for whoever owns it."""

    def view(self) -> AbstractContextManager[Folder]:
        """Return the files of the log as they are now; they can be read whoever removes them meanwhile."""
        ...

    def create(self, name: str) -> AppendFile:
        """Create a file that must not exist yet. Its name is durable only after `sync_names`."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, atomically replacing what had it."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file."""
        ...

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to `size` bytes, and make those durable."""
        ...

    def sync_names(self) -> None:
        """Make created, renamed and removed names durable (fsync of the folder)."""
        ...

    def close(self) -> None:
        """Give up the ownership lock; idempotent."""
        ...
