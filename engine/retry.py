"""How long to wait before a transaction that met a conflict is run again."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from inmem.engine.errors import UsageError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter.

    Attempt n (counted from 0) is followed, after a conflict, by a pause of ``base_delay * 2**n`` seconds, at most
    `max_delay`, of which the fraction `jitter` is random: two clients that collided do not collide again in step.

    Args:
        max_retries: how often to run again; 0 means one attempt in all.
        base_delay: seconds before the first retry.
        max_delay: upper bound of a pause, in seconds.
        jitter: between 0 (always the full pause) and 1 (anything from nothing to the full pause).
    """

    max_retries: int = 10
    base_delay: float = 0.001
    max_delay: float = 0.1
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if type(self.max_retries) is not int or self.max_retries < 0:
            raise UsageError(f"max_retries must be a whole number, and not negative: {self.max_retries!r}")
        for name in ("base_delay", "max_delay", "jitter"):
            if type(getattr(self, name)) not in (int, float):
                raise UsageError(f"{name} must be a number: {getattr(self, name)!r}")
        if not 0 <= self.base_delay <= self.max_delay < inf:
            raise UsageError(f"0 <= base_delay <= max_delay < inf must hold: {self.base_delay}, {self.max_delay}")
        if not 0 <= self.jitter <= 1:
            raise UsageError(f"jitter must be between 0 and 1: {self.jitter}")

    def delay_s(self, attempt: int, uniform: float) -> float:
        """Return the pause after attempt number `attempt`, given a random number in [0, 1)."""
        # Beyond 2**1000 a float overflows, and no pause worth waiting for still grows.
        full = min(self.base_delay * 2.0 ** min(attempt, 1000), self.max_delay)
        return full * (1.0 - self.jitter * uniform)
