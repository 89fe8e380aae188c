"""Which faults a simulation may commit."""

from __future__ import annotations

from dataclasses import dataclass

CRASH_ODDS = 0.01
"""Per message and per disk step: most runs of a small scenario crash somewhere, few crash at once."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults to inject. The default injects none: then only the order of events varies.

    Attributes:
        crash: the whole process may die at any message or disk step; the disk keeps what it must.
        actor_crash: any actor of the store may fail at any message.
        torn_writes: a crash may cut unsynced bytes anywhere, not only all or none.
        reordered_writes: a crash may lose earlier unsynced bytes and keep later ones.
        lost_names: a crash may undo changes of names that were not synced.
        failed_sync: odds that a sync fails.
        full_disk: odds that the disk refuses an append or a creation.
        clock_jumps: odds, per reading, that the wall clock jumps, forwards or backwards.
        crashes_max: at most so many crashes of the process in one run.
    """

    crash: bool = False
    actor_crash: bool = False
    torn_writes: bool = False
    reordered_writes: bool = False
    lost_names: bool = False
    failed_sync: float = 0.0
    full_disk: float = 0.0
    clock_jumps: float = 0.0
    crashes_max: int = 2

    @classmethod
    def everything(cls) -> Faults:
        """Return all of them at once."""
        return cls(
            crash=True,
            actor_crash=True,
            torn_writes=True,
            reordered_writes=True,
            lost_names=True,
            failed_sync=0.01,
            full_disk=0.01,
            clock_jumps=0.02,
        )
