"""What the reaper hears."""

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
    """To the reaper: look through all keys for deadlines. Of those that are there already, nobody will tell."""


class FindMore(Message, frozen=True):
    """Reaper → itself: go on with that."""


class CompareDeadlines(Message, frozen=True):
    """Reaper → itself: compare some more of the deadlines with what the keys have now."""

    after: Deadline
    """The last one that was compared."""


class ReapDue(Message, frozen=True):
    """Timer → reaper: the next deadline may have passed."""


class OldestRunning(Message, frozen=True):
    """Coordinator → reaper: no running transaction began before `now_us`, microseconds since the epoch."""

    now_us: int
