"""The progress of a recovery, in bytes, so that a slow disk can be distinguished from a long log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRESS_BYTES: Final = 64 * 1024 * 1024
"""Bytes between two progress reports: about one report per second, and none for a small database."""


class RecoveryProgress(NamedTuple):
    """The progress of a recovery.

    Attributes:
        bytes_read: bytes read so far, over all files.
        bytes_total: total size of the files that recovery reads.
        commits: commits replayed from the log so far.
    """

    bytes_read: int
    bytes_total: int
    commits: int


class Meter:
    """Reports the progress of a recovery over several files.

    Attributes:
        due_at: offset in the current file at which the next call of `tell` is due.
    """

    def __init__(self, total: int, tell: Callable[[RecoveryProgress], None] | None) -> None:
        self._total = total
        self._tell = tell
        self._before = 0
        self._due_bytes = PROGRESS_BYTES
        self.due_at: float = PROGRESS_BYTES if tell is not None else float("inf")

    def tell(self, offset: int, commits: int) -> None:
        """Report the progress, and set when the next report is due."""
        if self._tell is not None:
            self._tell(RecoveryProgress(self._before + offset, self._total, commits))
            self._due_bytes = self._before + offset + PROGRESS_BYTES
            self.due_at = self._due_bytes - self._before

    def next_file(self, size: int) -> None:
        """Continue with the next file; the current one had `size` bytes."""
        self._before += size
        if self._tell is not None:
            self.due_at = self._due_bytes - self._before
