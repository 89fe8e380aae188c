"""The newest commits, as the log has them, kept for whoever wants to follow what happens: a window that moves on.

A commit is kept as its log record (log_records.py): the bytes exist anyway, their length bounds the memory, and nobody
pays for what nobody reads. So a slow reader costs no more than a quick one, and learns of it when it has missed some.

One thread adds, others read at the same time, without a lock: each step of either is one operation on a dict or one
assignment, in an order that lets a reader who finds nothing see why.
"""

from __future__ import annotations

from typing import Final

from inmem.engine.errors import InvariantError, WatchLaggedError
from inmem.engine.limits import RETAINED_BYTES_MAX

ENTRY_BYTES: Final = 128
"""What a kept commit takes beside its record: two objects and a place in a dict."""


class RetainedCommits:
    """Every commit after `since` and up to `version`: the newest `RETAINED_BYTES_MAX` bytes, and at least one commit.

    Args:
        version: to begin after; nothing up to it is kept.

    Attributes:
        since: every commit after this version is here.
        version: of the newest commit.
        history: which one these commits belong to: a window of another has other commits under the same versions.
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
        """Keep one more commit, newer than those before. O(1), amortized."""
        self._records[version] = record
        self.version = version
        self._size_bytes += len(record) + ENTRY_BYTES
        if self._size_bytes > RETAINED_BYTES_MAX:
            self._let_go()

    def add_newer(self, other: RetainedCommits) -> None:
        """Keep those of another window too that are newer than this one's. O(them)."""
        for version, record in other._records.items():
            if version > self.version:
                self.add(version, record)
        self.version = max(self.version, other.version)

    def advance(self, version: int) -> None:
        """Note that there is nothing between the newest commit and `version`."""
        self.version = version

    def after(self, version: int) -> tuple[int, bytes] | None:
        """Return (version, record) of the first commit after `version`, or None if there is none yet. O(1).

        Raises:
            WatchLaggedError: that commit is not kept any more.
        """
        # Versions rise by one, but for the few that a restart may skip.
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
                # In this order: a reader who does not find the record finds out that it is gone.
                self.since = oldest
                del records[oldest]
                self._size_bytes -= len(record) + ENTRY_BYTES
            self._oldest = oldest + 1
