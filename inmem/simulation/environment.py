"""Virtual time, seeded entropy, and a published snapshot at which clients pause."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from inmem.actors.published import Published

if TYPE_CHECKING:
    from inmem.actors.change_feed import ChangeFeed
    from inmem.engine.tables.snapshot import Snapshot
    from inmem.simulation.faults import FaultInjector
    from inmem.simulation.scheduler import Scheduler

EPOCH_US = 1_700_000_000_000_000
"""Where simulated wall clocks start, in microseconds."""

JUMP_US = 3_600_000_000
"""How far the wall clock jumps, in microseconds: an hour, as when somebody corrects it."""

JITTER_STEPS = 8
"""How many different pauses before a retry are tried."""


class SimulatedClock:
    """Time that passes only when the scheduler lets it. The wall clock may jump, the monotonic clock never does."""

    def __init__(self, scheduler: Scheduler, injector: FaultInjector) -> None:
        self._scheduler = scheduler
        self._injector = injector
        self._offset_us = EPOCH_US

    def now_us(self) -> int:
        """Return simulated wall-clock time."""
        if self._injector.chance(self._injector.faults.clock_jumps):
            self._offset_us += JUMP_US if self._scheduler.chooser.choose(2) else -JUMP_US
        return self._offset_us + self._scheduler.now_us

    def monotonic_s(self) -> float:
        """Return simulated monotonic time."""
        return self._scheduler.now_us / 1e6


class SimulatedEntropy:
    """Ids and salts from the seed, new on every call and the same in every replay; jitter from the chooser."""

    def __init__(self, seed: int, scheduler: Scheduler) -> None:
        self._random = random.Random(seed)  # noqa: S311  (to be repeated, not to be secret)
        self._scheduler = scheduler

    def bits(self, count: int) -> int:
        """Return `count` bits."""
        return self._random.getrandbits(count)

    def uniform(self) -> float:
        """Return a float in [0, 1)."""
        return 0.0 if self._scheduler.calm else self._scheduler.chooser.choose(JITTER_STEPS) / JITTER_STEPS


class PausingPublished(Published):
    """The newest snapshot. A client that looks at it lets others run first."""

    __slots__ = ("_published", "_scheduler")

    def __init__(self, published: Published, scheduler: Scheduler) -> None:
        self._published = published
        self._scheduler = scheduler

    @property
    def snapshot(self) -> Snapshot:  # type: ignore[override]
        """The newest snapshot at the moment when the client continues."""
        self._scheduler.breathe()
        snapshot = self._published.snapshot
        self._scheduler.note_client(f"looks at version {snapshot.version}")
        return snapshot

    @property
    def is_closed(self) -> bool:  # type: ignore[override]
        """Whether the store has been closed."""
        return self._published.is_closed

    @property
    def feed(self) -> ChangeFeed:  # type: ignore[override]
        """The newest commits."""
        return self._published.feed
