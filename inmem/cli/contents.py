"""The contents of runs, counted in words.

Deleted cells are always included in the count: they keep their version counters, so they are exported, imported, and
deleted with their run. The text says how many of the cells are deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.amounts import counted

if TYPE_CHECKING:
    from collections.abc import Mapping


def contents_in_words(counts: Mapping[str, int], deleted_cells: int) -> str:
    """Return text such as ``1 key, 2 events, 1 cell, 0 traces``, with the number of deleted cells if any."""
    cells = counted(counts["cells"], "cell") + of_them_deleted(deleted_cells)
    keys, events, traces = (counted(counts[f"{noun}s"], noun) for noun in ("key", "event", "trace"))
    return f"{keys}, {events}, {cells}, {traces}"


def of_them_deleted(count: int) -> str:
    """Return the text to append to a number of cells if `count` of them are deleted."""
    return f" ({count:,} of them deleted)" if count else ""
