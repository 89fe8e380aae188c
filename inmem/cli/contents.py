"""What runs hold, counted in words.

Deleted cells are counted too, everywhere: they go on counting their versions, so they are exported, imported and lost
with their run. How many they are is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.amounts import counted

if TYPE_CHECKING:
    from collections.abc import Mapping


def contents_in_words(counts: Mapping[str, int], deleted_cells: int) -> str:
    """Return ``1 key, 2 events, 1 cell, 0 traces``, with how many of the cells are deleted."""
    cells = counted(counts["cells"], "cell") + of_them_deleted(deleted_cells)
    keys, events, traces = (counted(counts[f"{noun}s"], noun) for noun in ("key", "event", "trace"))
    return f"{keys}, {events}, {cells}, {traces}"


def of_them_deleted(count: int) -> str:
    """Return what stands behind a number of cells, of which `count` are deleted."""
    return f" ({count:,} of them deleted)" if count else ""
