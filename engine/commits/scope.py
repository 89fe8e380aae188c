"""What holds for a transaction as a whole, shared by its views of tables."""

from __future__ import annotations

from typing import Any


class Scope:
    """What the views of one transaction have in common.

    Args:
        now_us: the transaction's time, by which expiry is judged.
        track_scans: whether scanned ranges are remembered.

    Attributes:
        undo_log: how to take each write back, newest last; None until somebody may want to.
        ended_as: the status in which the transaction has ended; None while it is active.
    """

    __slots__ = ("ended_as", "now_us", "track_scans", "undo_log")

    def __init__(self, now_us: int, *, track_scans: bool) -> None:
        self.now_us = now_us
        self.track_scans = track_scans
        # Of `Undo`, and of what the transaction adds.
        self.undo_log: list[Any] | None = None
        self.ended_as: str | None = None
