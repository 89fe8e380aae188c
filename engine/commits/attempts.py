"""Counting the attempts at one piece of work, and limiting the time they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from inmem.engine.errors import ConflictError, RetriesExhaustedError, TransactionAbortedError

if TYPE_CHECKING:
    from inmem.engine.commits.retry import RetryPolicy

Failure: TypeAlias = ConflictError | TransactionAbortedError
"""The errors after which another attempt is worthwhile."""


class TimeLimit(Struct, frozen=True):
    """The time allowed for a piece of work, counted from the moment it was requested."""

    timeout_s: float
    """The total time that the caller allows."""
    deadline_s: float
    """When that time is over, by the store's monotonic clock."""

    @property
    def is_nothing(self) -> bool:
        """Whether the timeout is zero: a transaction may then read its snapshot, not commit, and no function runs."""
        return not self.timeout_s

    def remaining_s(self, now_s: float) -> float:
        """Return how much time is left; 0 once the deadline has passed."""
        return max(0.0, self.deadline_s - now_s)


class Attempts(Struct):
    """The attempts at one piece of work."""

    retry: RetryPolicy
    limit: TimeLimit | None
    """The limit for all attempts together, if any."""
    number: int = 0
    """The number of the current attempt, counted from 0."""

    def pause_s(self, failure: Failure, uniform: float, now_s: float) -> float:
        """Return how long to pause after a failed attempt, and count the next attempt as begun.

        Args:
            failure: how the attempt failed.
            uniform: a random number in [0, 1).
            now_s: the store's monotonic time. A pause does not outlast the limit.

        Raises:
            RetriesExhaustedError: no retries are left, and the failure is a conflict.
            TransactionAbortedError: no retries are left, and this is the failure.
        """
        if self.number >= self.retry.max_retries:
            if isinstance(failure, ConflictError):
                raise RetriesExhaustedError(self.number + 1, failure.conflicts) from failure
            raise failure
        delay_s = self.retry.delay_s(self.number, uniform)
        self.number += 1
        return delay_s if self.limit is None else min(delay_s, self.limit.remaining_s(now_s))
