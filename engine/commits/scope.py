"""The state of a transaction that its table views share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from inmem.engine.commits.undo import Undo, UndoDrop


class Scope(Struct, eq=False):
    """The state that the views of one transaction share.

    Attributes:
        now_us: the transaction's time, by which expiry is judged.
        track_scans: whether scanned ranges are remembered.
        undo_log: how to undo each write, newest last; None until the transaction is first marked for rollback.
        ended_as: the status that closed the transaction to further operations; None while it is active.
        has_deadlines: whether any write buffered so far had a deadline, even if it has been overwritten or undone.
    """

    now_us: int
    track_scans: bool
    undo_log: list[Undo | UndoDrop] | None = None
    ended_as: str | None = None
    has_deadlines: bool = False
