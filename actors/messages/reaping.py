"""What the reaper hears."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from inmem.engine.deadlines import Deadline


class Expiring(NamedTuple):
    """Coordinator → reaper: these KVStore keys were committed with a deadline."""

    entries: tuple[Deadline, ...]
    """(deadline in microseconds, run, key)."""


class FindExpiring(NamedTuple):
    """Reaper → itself: look through some more of the recovered keys for deadlines."""


class ReapDue(NamedTuple):
    """Timer → reaper: the next deadline may have passed."""


class OldestRunning(NamedTuple):
    """Coordinator → reaper: no running transaction began before `now_us`, microseconds since the epoch."""

    now_us: int
