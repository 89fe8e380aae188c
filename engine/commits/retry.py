"""How often to retry a transaction after a conflict, and how long to wait before each retry."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from inmem.engine.errors import UsageError
from inmem.engine.shown import shown

PAUSE_S_MAX: Final = 1_000_000_000
"""Thirty years: longer than any process runs. Operating systems do not accept much longer timeouts."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter.

    If attempt n (counted from 0) ends in a conflict, a pause of ``base_delay * 2**n`` seconds follows, at most
    `max_delay`. The fraction `jitter` of it is random, so clients that collided do not retry in step and collide again.

    Args:
        max_retries: the number of retries after the first attempt; 0 means a single attempt.
        base_delay: seconds before the first retry.
        max_delay: upper bound of a pause, in seconds. No pause is longer than thirty years.
        jitter: between 0 (always the full pause) and 1 (anything from nothing to the full pause).
    """

    max_retries: int = 10
    base_delay: float = 0.001
    max_delay: float = 0.1
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if type(self.max_retries) is not int or self.max_retries < 0:
            raise UsageError(f"max_retries: must be an int of at least 0, not {shown(self.max_retries)}")
        for name in ("base_delay", "max_delay", "jitter"):
            value: object = getattr(self, name)
            if type(value) is not int and type(value) is not float:
                raise UsageError(f"{name}: must be a number, not {shown(value)}")
        if not 0 <= self.base_delay <= self.max_delay < inf:
            delays = f"{shown(self.base_delay)} and {shown(self.max_delay)}"
            raise UsageError(f"base_delay, max_delay: must be 0 <= base_delay <= max_delay < inf, not {delays}")
        if not 0 <= self.jitter <= 1:
            raise UsageError(f"jitter: must be between 0 and 1, not {shown(self.jitter)}")

    def delay_s(self, attempt: int, uniform: float) -> float:
        """Return the pause after attempt number `attempt`, given a random number in [0, 1)."""
        # Cap the exponent: a float overflows soon after 2**1000. Any sensible pause reaches its maximum long before.
        full = min(min(self.base_delay, PAUSE_S_MAX) * 2.0 ** min(attempt, 1000), self.max_delay, PAUSE_S_MAX)
        return full * (1.0 - self.jitter * uniform)
