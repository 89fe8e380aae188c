"""The messages to the reaper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.messages.message import Message

if TYPE_CHECKING:
    from inmem.engine.tables.deadlines import Deadline


class Expiring(Message, frozen=True):
    """Coordinator → reaper: these KVStore keys were committed with a deadline."""

    entries: tuple[Deadline, ...]
    """(deadline in microseconds, run, key)."""


class FindExpiring(Message, frozen=True):
    """To the reaper: search all keys for deadlines. No `Expiring` comes for keys that exist already."""


class FindMore(Message, frozen=True):
    """Reaper → itself: continue the search begun by `FindExpiring`."""


class ReconcileDeadlines(Message, frozen=True):
    """Reaper → itself: reconcile some more of the known deadlines with the keys' current ones."""

    after: Deadline
    """The last deadline that was reconciled."""


class ReapDue(Message, frozen=True):
    """Timer → reaper: the next deadline may have passed."""


class OldestRunning(Message, frozen=True):
    """Coordinator → reaper: no running transaction began before `now_us`, microseconds since the epoch."""

    now_us: int
