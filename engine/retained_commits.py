"""A sliding window of the newest commits, kept for watchers in the form of log records.

A commit is kept as its log record (log_records.py): the bytes exist anyway, their length bounds the memory, and records
that no watcher reads are never decoded. So a slow watcher costs no more than a fast one; one that has missed commits
gets an error.

One thread adds commits while others read, without a lock. Each step of either is one dict operation or one assignment,
ordered so that a reader that does not find a commit can tell whether it is gone.
"""

from __future__ import annotations

from typing import Final

from inmem.engine.errors import InvariantError, WatchLaggedError
from inmem.engine.limits import RETAINED_BYTES_MAX

ENTRY_BYTES: Final = 128
"""Memory that a kept commit takes in addition to its record: two objects and a dict slot."""


class RetainedCommits:
    """Every commit after `since` and up to `version`: the newest `RETAINED_BYTES_MAX` bytes, and at least one commit.

    Args:
        version: the version after which the window begins.

    Attributes:
        since: every commit after this version is in the window.
        version: the version of the newest commit.
        history: the history to which the commits belong. In another one, such as that of a restored backup, the same
            versions are other commits.
    """

    __slots__ = ("_oldest", "_records", "_size_bytes", "history", "since", "version")

    def __init__(self, version: int) -> None:
        self.history = 0
        self.since = version
        self.version = version
        self._records: dict[int, bytes] = {}
        self._oldest = version + 1
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, version: int, record: bytes) -> None:
        """Add a commit that is newer than all others in the window. O(1), amortized."""
        self._records[version] = record
        self.version = version
        self._size_bytes += len(record) + ENTRY_BYTES
        if self._size_bytes > RETAINED_BYTES_MAX:
            self._let_go()

    def add_newer(self, other: RetainedCommits) -> None:
        """Add the commits of another window that are newer than those of this one. O(commits in the other)."""
        for version, record in other._records.items():
            if version > self.version:
                self.add(version, record)
        self.version = max(self.version, other.version)

    def advance(self, version: int) -> None:
        """Record that there is no commit between the newest one and `version`."""
        self.version = version

    def after(self, version: int) -> tuple[int, bytes] | None:
        """Return (version, record) of the first commit after `version`, or None if there is none yet. O(1).

        Raises:
            WatchLaggedError: that commit is no longer in the window.
        """
        # Versions are consecutive, except for the few that a restart may skip.
        for candidate in range(version + 1, self.version + 1):
            record = self._records.get(candidate)
            if record is not None:
                return candidate, record
            if candidate <= self.since:
                raise WatchLaggedError(version, self.since)
        return None

    def check(self) -> None:
        """Raise InvariantError unless the window is sound. O(n)."""
        if list(self._records) != sorted(self._records):
            raise InvariantError("commits are kept in another order than that of their versions")
        if self._records and not self.since < min(self._records) <= max(self._records) <= self.version:
            raise InvariantError(f"the window ({self.since}, {self.version}] does not hold what is kept")
        size_bytes = sum(len(record) + ENTRY_BYTES for record in self._records.values())
        if size_bytes != self._size_bytes or (size_bytes > RETAINED_BYTES_MAX and len(self._records) > 1):
            raise InvariantError(f"{size_bytes} bytes are kept, {self._size_bytes} were counted")

    def _let_go(self) -> None:
        records = self._records
        while self._size_bytes > RETAINED_BYTES_MAX and len(records) > 1:
            oldest = self._oldest
            record = records.get(oldest)
            if record is not None:
                # In this order, so that a reader that does not find the record sees that it is gone.
                self.since = oldest
                del records[oldest]
                self._size_bytes -= len(record) + ENTRY_BYTES
            self._oldest = oldest + 1
