"""How to undo what a transaction has buffered since a savepoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from inmem.engine.commits.part import Write
    from inmem.engine.commits.table_view import TableView


class Undo(Struct, frozen=True):
    """How to undo one buffered write."""

    view: TableView
    key: bytes
    write: Write | None
    """The write that was buffered for the key before, if any."""
    was_swapped: bool
    """Whether the key had until then been compared and swapped, and neither put nor deleted."""
    expectation: tuple[int, bool] | None
    """The expectation that the write added, if any."""


class UndoDrop(Struct, frozen=True):
    """How to undo the deletion of a run: the run, and copies of its views from before."""

    run: str
    was_dropped: bool
    """Whether the transaction had dropped the run before."""
    views: tuple[tuple[tuple[str, int], TableView], ...]
