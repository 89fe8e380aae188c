"""The machine's own clock and entropy, behind the engine's ports, and the store's clock on top."""

from __future__ import annotations

import os
import random
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inmem.engine.ports import Clock

_all_entropy: weakref.WeakSet[SystemEntropy] = weakref.WeakSet()


def _reseed_all() -> None:
    for entropy in tuple(_all_entropy):
        entropy.reseed()


os.register_at_fork(after_in_child=_reseed_all)


class SystemClock:
    """Wall-clock and monotonic time of this machine."""

    def now_us(self) -> int:
        """Return microseconds since the epoch."""
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        """Return seconds that never step back."""
        return time.monotonic()


class SystemEntropy:
    """Random bits from a generator that the operating system seeds: asking the system for each id costs too much."""

    def __init__(self) -> None:
        self._random = random.Random(os.urandom(32))  # noqa: S311  (ids must be unique, not secret)
        _all_entropy.add(self)

    def reseed(self) -> None:
        """Reseed, in a forked child, so as not to repeat the parent's numbers."""
        self._random.seed(os.urandom(32))

    def bits(self, count: int) -> int:
        """Return `count` random bits."""
        return self._random.getrandbits(count)

    def uniform(self) -> float:
        """Return a float in [0, 1)."""
        return self._random.random()


class StoreClock:
    """Time that never decreases in the life of a database, whatever the wall clock does.

    An expired key must not come back to life because the clock was set back, so the store never uses a time below one
    that it has used before. Recovery supplies the highest time found in the log and the manifest.

    Several client threads read it. If two of them race inside `now_us`, the floor ends up a few microseconds low, which
    matters only if the wall clock is set back within those microseconds.
    """

    __slots__ = ("_clock", "floor_us")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.floor_us = 0

    def now_us(self) -> int:
        """Return microseconds since the epoch, not below anything returned before."""
        now_us = self._clock.now_us()
        if now_us < self.floor_us:
            return self.floor_us
        self.floor_us = now_us
        return now_us

    def monotonic_s(self) -> float:
        """Return seconds that never step back."""
        return self._clock.monotonic_s()
