"""How far a recovery has come, told by bytes: so that a slow disk can be told from a long log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRESS_BYTES: Final = 64 * 1024 * 1024
"""How often recovery tells how far it is: about once a second, and not at all for a small database."""


class RecoveryProgress(NamedTuple):
    """How far a recovery has come.

    Attributes:
        bytes_read: of the files that it reads.
        bytes_total: of them all.
        commits: replayed from the log so far.
    """

    bytes_read: int
    bytes_total: int
    commits: int


class Meter:
    """Tells how far recovery is, file after file.

    Attributes:
        due_at: offset in the current file from which on to call `tell`.
    """

    def __init__(self, total: int, tell: Callable[[RecoveryProgress], None] | None) -> None:
        self._total = total
        self._tell = tell
        self._before = 0
        self._due_bytes = PROGRESS_BYTES
        self.due_at: float = PROGRESS_BYTES if tell is not None else float("inf")

    def tell(self, offset: int, commits: int) -> None:
        """Tell it, and when to tell again."""
        if self._tell is not None:
            self._tell(RecoveryProgress(self._before + offset, self._total, commits))
            self._due_bytes = self._before + offset + PROGRESS_BYTES
            self.due_at = self._due_bytes - self._before

    def next_file(self, size: int) -> None:
        """Go on to the next file; that one had `size` bytes."""
        self._before += size
        if self._tell is not None:
            self.due_at = self._due_bytes - self._before
