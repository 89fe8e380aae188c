"""How often, and for how long, one piece of work is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from inmem.engine.errors import ConflictError, RetriesExhaustedError, TransactionAbortedError

if TYPE_CHECKING:
    from inmem.engine.commits.retry import RetryPolicy

Failure: TypeAlias = ConflictError | TransactionAbortedError
"""What is worth another attempt."""


class TimeLimit(Struct, frozen=True):
    """The time by which something has to be done, from the moment it was asked for."""

    timeout_s: float
    """What the caller has allowed, all in all."""
    deadline_s: float
    """When that is over, by the store's monotonic clock."""

    @property
    def is_nothing(self) -> bool:
        """Whether no time was allowed from the start: too little for anything but a look."""
        return not self.timeout_s

    def remaining_s(self, now_s: float) -> float:
        """Return how much of it is left; 0 when it is over."""
        return max(0.0, self.deadline_s - now_s)


class Attempts(Struct):
    """The attempts at one piece of work."""

    retry: RetryPolicy
    limit: TimeLimit | None
    """Of all of them together."""
    number: int = 0
    """Of the one that is being made, counted from 0."""

    def pause_s(self, failure: Failure, uniform: float, now_s: float) -> float:
        """Return how long to pause after an attempt that failed; the next one counts from here.

        Args:
            failure: how the attempt has ended.
            uniform: a random number in [0, 1).
            now_s: the store's monotonic time. A pause does not outlast the limit.

        Raises:
            RetriesExhaustedError: there will be no next one.
            TransactionAbortedError: nor then.
        """
        if self.number >= self.retry.max_retries:
            if isinstance(failure, ConflictError):
                raise RetriesExhaustedError(self.number + 1, failure.conflicts) from failure
            raise failure
        delay_s = self.retry.delay_s(self.number, uniform)
        self.number += 1
        return delay_s if self.limit is None else min(delay_s, self.limit.remaining_s(now_s))
