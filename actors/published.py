"""The one reference through which all threads see the newest committed state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.change_feed import ChangeFeed

if TYPE_CHECKING:
    from inmem.engine.tables.snapshot import Snapshot


class Published:
    """Holds the newest snapshot. The coordinator replaces it, in one assignment; all others only read it.

    Attributes:
        snapshot: the newest snapshot.
        is_closed: whether the store is closed: no newer snapshot will come, and this one should no longer be read.
        feed: the newest commits, for watchers.
    """

    __slots__ = ("feed", "is_closed", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.is_closed = False
        self.feed = ChangeFeed()
