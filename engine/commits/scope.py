"""The state of a transaction that its table views share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inmem.engine.commits.undo import Undo, UndoDrop


class Scope:
    """The state that the views of one transaction share.

    Args:
        now_us: the transaction's time, by which expiry is judged.
        track_scans: whether scanned ranges are remembered.

    Attributes:
        undo_log: how to undo each write, newest last; None until the transaction is first marked for rollback.
        ended_as: the status that closed the transaction to further operations; None while it is active.
    """

    __slots__ = ("ended_as", "now_us", "track_scans", "undo_log")

    def __init__(self, now_us: int, *, track_scans: bool) -> None:
        self.now_us = now_us
        self.track_scans = track_scans
        self.undo_log: list[Undo | UndoDrop] | None = None
        self.ended_as: str | None = None
