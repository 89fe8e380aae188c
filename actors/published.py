"""The one reference through which everybody sees the newest committed state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.change_feed import ChangeFeed

if TYPE_CHECKING:
    from inmem.engine.tables.snapshot import Snapshot


class Published:
    """Holds the newest snapshot. The coordinator replaces it, in one assignment; everybody else only reads it.

    Attributes:
        snapshot: the newest.
        is_closed: the store has been closed; there will be no newer one, and nobody should go on reading this one.
        feed: the newest commits, for watchers.
    """

    __slots__ = ("feed", "is_closed", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.is_closed = False
        self.feed = ChangeFeed()
