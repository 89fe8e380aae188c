"""Which faults a simulation may inject, and the one place that injects them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from inmem.engine.errors import UsageError
from inmem.simulation.trace import DISK, WORLD

if TYPE_CHECKING:
    from inmem.actors.dispatch.mailbox import Mailbox, ReplyTo
    from inmem.simulation.choices import Chooser
    from inmem.simulation.scheduler import Scheduler

CRASH_ODDS = 0.01
"""Per message and per disk step: most runs of a small scenario crash somewhere, few crash at the start."""

ACTOR_CRASH_ODDS = 0.0025
"""Per message and per disk step: so many failures in a row that the store gives up stay rare."""

SLOW_SYNC_US = 5_000_000
"""How long a slow sync takes, in microseconds: longer than any timeout or interval in use."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults to inject. The default injects none: then only the order of events varies.

    Faults happen only during `Simulation.run`, so a scenario can set up and inspect its stores undisturbed.

    Attributes:
        crash: the whole process may die at any message or disk step; the disk keeps what it must.
        actor_crash: any actor of the store except the supervisor may fail at any message or disk step.
        torn_writes: a crash may cut unsynced bytes off anywhere, not only keep all or none.
        reordered_writes: a crash may lose earlier unsynced bytes and keep later ones.
        lost_names: a crash may undo creations, renames and removals that were not synced.
        failed_sync: odds that a sync fails.
        slow_sync: odds that a sync takes seconds.
        full_disk: odds that the disk refuses an append or a creation.
        clock_jumps: odds, per reading, that the wall clock jumps, forwards or backwards.
        crashes_max: the maximum number of process crashes in one run.

    Raises:
        UsageError: odds are not between 0 and 1, the count is negative, or a value has another type.
    """

    crash: bool = False
    actor_crash: bool = False
    torn_writes: bool = False
    reordered_writes: bool = False
    lost_names: bool = False
    failed_sync: float = 0.0
    slow_sync: float = 0.0
    full_disk: float = 0.0
    clock_jumps: float = 0.0
    crashes_max: int = 2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            match field.default:
                case bool():
                    is_good, wanted = type(value) is bool, "a bool"
                case float():
                    is_good, wanted = type(value) in (int, float) and 0 <= value <= 1, "odds, a number from 0 to 1"
                case _:
                    is_good, wanted = type(value) is int and value >= 0, "an int of at least 0"
            if not is_good:
                raise UsageError(f"{field.name}: must be {wanted}, not {value!r}")

    @classmethod
    def crashes(cls) -> Faults:
        """Return all faults that can happen when the process dies."""
        return cls(crash=True, torn_writes=True, reordered_writes=True, lost_names=True)

    @classmethod
    def everything(cls) -> Faults:
        """Return all faults at once."""
        return cls(
            crash=True,
            actor_crash=True,
            torn_writes=True,
            reordered_writes=True,
            lost_names=True,
            failed_sync=0.01,
            slow_sync=0.05,
            full_disk=0.01,
            clock_jumps=0.02,
        )

    def __repr__(self) -> str:
        for name in ("crashes", "everything"):
            if self == getattr(Faults, name)():
                return f"Faults.{name}()"
        changed = ", ".join(
            f"{name}={getattr(self, name)!r}"
            for name in self.__slots__
            if getattr(self, name) != getattr(NO_FAULTS, name, None)
        )
        return f"Faults({changed})"


NO_FAULTS = Faults()

KINDS = (
    ("crash", "torn_writes", "reordered_writes", "lost_names", "crashes_max"),
    ("actor_crash",),
    ("failed_sync",),
    ("slow_sync",),
    ("full_disk",),
    ("clock_jumps",),
)
"""The fields of each kind of fault. The first turns the kind on; the others mean nothing without it."""


def kinds_of(faults: Faults) -> list[Faults]:
    """Return each kind of fault that is allowed, alone."""
    return [
        replace(NO_FAULTS, **{field: getattr(faults, field) for field in kind})
        for kind in KINDS
        if getattr(faults, kind[0])
    ]


def allowed_faults(faults: Faults | None) -> Faults:
    """Return the faults, none by default.

    Raises:
        UsageError: `faults` is not a `Faults`.
    """
    if faults is None:
        return NO_FAULTS
    if not isinstance(faults, Faults):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"faults: must be a Faults, not {faults!r:.80}")
    return faults


class SimulatedCrash(Exception):  # noqa: N818  (an end, not an error)
    """Ends the code that was running when the simulated process died."""


class ActorCrash(Exception):  # noqa: N818  (raised inside an actor, seen by nobody but the supervisor)
    """Makes an actor fail."""


class FaultInjector:
    """Decides, at every message and disk step, whether a fault happens there.

    Args:
        faults: the allowed faults.
        chooser: makes the decisions.
        scheduler: the scheduler of the run.

    Attributes:
        active: whether any fault may happen now.
        crashes: number of process crashes so far.
    """

    def __init__(self, faults: Faults, chooser: Chooser, scheduler: Scheduler) -> None:
        self.faults = faults
        self.active = False
        self.crashes = 0
        self._chooser = chooser
        self._scheduler = scheduler

    def chance(self, probability: float) -> bool:
        """Return whether a fault with this probability happens now."""
        return probability > 0 and self._is_on() and self._chooser.chance(probability)

    def before_delivery(self, receiver: str, mailbox: Mailbox | None, message: Any, reply_to: ReplyTo | None) -> bool:
        """Decide whether a fault happens instead of a delivery; return False if it did."""
        if not self._is_on():
            return True
        if self._process_dies(f"before {receiver} gets {type(message).__name__}"):
            return False
        actor = None if mailbox is None else mailbox.actor
        if actor is not None and actor.supervisor is not None and self._actor_fails():
            self._scheduler.note(WORLD, receiver, f"fails at {type(message).__name__}")
            actor.fail(message, reply_to, ActorCrash(f"simulated failure of {receiver}"))
            return False
        return True

    def before_disk_step(self, operation: str, name: str) -> None:
        """Decide whether a fault happens instead of a disk operation.

        Raises:
            SimulatedCrash: the process has died.
            ActorCrash: the actor that wanted the operation has failed.
        """
        if self._scheduler.crashed:
            raise SimulatedCrash
        where = f"{operation} {name}".rstrip()
        self._scheduler.note(DISK, DISK, where)
        if not self._is_on():
            return
        if self._process_dies(f"before {where}"):
            raise SimulatedCrash
        # Nothing could replace the supervisor, so it is not made to fail.
        if not self._scheduler.handling.endswith("supervisor") and self._actor_fails():
            self._scheduler.note(WORLD, self._scheduler.handling, f"fails before {where}")
            raise ActorCrash(f"simulated failure before {where}")

    def _is_on(self) -> bool:
        return self.active and not self._scheduler.calm

    def _process_dies(self, where: str) -> bool:
        faults = self.faults
        if not faults.crash or self.crashes >= faults.crashes_max or not self._chooser.chance(CRASH_ODDS):
            return False
        self.crashes += 1
        self._scheduler.crashed = True
        self._scheduler.note(WORLD, WORLD, f"the process dies {where}")
        return True

    def _actor_fails(self) -> bool:
        return self.faults.actor_crash and self._chooser.chance(ACTOR_CRASH_ODDS)
