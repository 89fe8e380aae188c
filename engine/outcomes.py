"""The outcomes of the newest commits, for callers that could not be answered at the time."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    CommitVersions: TypeAlias = Mapping[tuple[int, int], int]
    """(salt of the opening, transaction id) → version of its commit."""

OUTCOMES_MAX: Final = 10_000
"""Commits whose outcome is available after reopening: far more than can have been in flight at once."""


class Outcomes:
    """The versions of the last `OUTCOMES_MAX` commits, by (salt of the opening, transaction id).

    Args:
        known: the initial outcomes, ordered by version.
        since: every commit after this version is in `known`.
    """

    __slots__ = ("_versions", "since")

    def __init__(self, known: CommitVersions, since: int) -> None:
        self._versions = OrderedDict(known)
        self.since = since

    def record(self, salt: int, transaction_id: int, version: int) -> None:
        """Remember a commit, and forget the oldest one if there are too many. O(1)."""
        versions = self._versions
        versions[salt, transaction_id] = version
        if len(versions) > OUTCOMES_MAX:
            _, self.since = versions.popitem(last=False)

    def forget(self) -> None:
        """Forget all commits, because they belong to a different history."""
        self._versions.clear()

    def version_of(self, salt: int, transaction_id: int) -> int | None:
        """Return the version of the transaction's commit, or None if it is not remembered. O(1)."""
        return self._versions.get((salt, transaction_id))

    def version_in_any_opening(self, transaction_id: int) -> int | None:
        """Return the version of the commit with this id, the newest one if several openings had one, or None.

        Complexity: O(OUTCOMES_MAX).
        """
        return next(
            (version for (_, number), version in reversed(self._versions.items()) if number == transaction_id), None
        )

    def up_to(self, version: int) -> dict[tuple[int, int], int]:
        """Return the remembered commits up to `version`, for a checkpoint. O(OUTCOMES_MAX)."""
        return {commit: committed_at for commit, committed_at in self._versions.items() if committed_at <= version}
