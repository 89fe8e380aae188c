"""Which of the newest commits happened: the answer for callers who could not be told at the time."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

OUTCOMES_MAX: Final = 10_000
"""Commits whose outcome can be asked for after reopening: far more than can have been in flight at once."""


class Outcomes:
    """The versions of the last `OUTCOMES_MAX` commits, by (salt of the opening, transaction id).

    Args:
        known: outcomes to start with, in the order of their versions.
        since: every commit after this version is among them.
    """

    __slots__ = ("_versions", "since")

    def __init__(self, known: Mapping[tuple[int, int], int], since: int) -> None:
        self._versions = OrderedDict(known)
        self.since = since

    def record(self, salt: int, transaction_id: int, version: int) -> None:
        """Remember a commit, and forget the oldest one beyond the bound. O(1)."""
        versions = self._versions
        versions[salt, transaction_id] = version
        if len(versions) > OUTCOMES_MAX:
            _, self.since = versions.popitem(last=False)

    def forget(self) -> None:
        """Know of no commit any more: those that were remembered are of another history."""
        self._versions.clear()

    def version_of(self, salt: int, transaction_id: int) -> int | None:
        """Return the version that the transaction committed as, or None if it is not among the remembered. O(1)."""
        return self._versions.get((salt, transaction_id))

    def up_to(self, version: int) -> dict[tuple[int, int], int]:
        """Return the remembered commits up to `version`, for a checkpoint. O(OUTCOMES_MAX)."""
        return {commit: committed_at for commit, committed_at in self._versions.items() if committed_at <= version}
