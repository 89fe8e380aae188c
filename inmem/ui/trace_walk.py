"""A walk over a run's traces as a tree, a page at a time, each page starting where the last one ended.

A tree may have any depth and width, so no page may read a whole subtree. The trace after a given one, in preorder, is
its first child; else its next sibling; else the next sibling of its parent, and so on. Each of these is one index
lookup. Walking back up a deep chain takes many lookups and yields no row, so lookups are limited, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem import Trace
    from inmem.primitives.traces import TraceOperations

T = TypeVar("T")

_LOOKS_PER_ROW: Final = 4
"""Two are enough for ordinary trees, if not for one built to be costly."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place in the tree where a page ended.

    Attributes:
        trace_id: the last trace.
        depth: its depth, 0 for a root.
        is_past: whether everything below it has been shown.
    """

    trace_id: str
    depth: int
    is_past: bool = False


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """A trace in the drawn tree.

    Attributes:
        depth: its depth, 0 for a root.
        trace_id: its id.
        kept: the result of `keep` for the trace.
        has_children: whether it has children; None if the page ended before that was known.
    """

    depth: int
    trace_id: str
    kept: T
    has_children: bool | None


def walk_page(
    traces: TraceOperations, after: Place | None, limit: int, keep: Callable[[Trace], T]
) -> tuple[list[Row[T]], Place | None]:
    """Return at most `limit` rows after `after`, and the place where the page ends, or None at the end of the tree.

    A page may be short, even empty, without being the last. O(limit * log n), whatever the shape of the tree, with one
    trace in memory at a time.

    Args:
        traces: the traces of the run.
        after: the place where the previous page ended; None begins with the first root.
        limit: the maximum number of rows.
        keep: returns what the row of a trace keeps.

    Raises:
        TraceNotFoundError: the trace of `after` does not exist any more.
    """
    found: list[tuple[int, str, T]] = []
    parents: dict[str, str | None] = {}
    place = after
    is_end = False
    # Looks for one trace more than is shown, to know whether there are more and whether the last row has children.
    for _ in range(limit * _LOOKS_PER_ROW):
        depth, trace = _look(traces, place, parents)
        if trace is not None:
            found.append((depth, trace.id, keep(trace)))
            parents[trace.id] = trace.parent_id
            place = Place(trace.id, depth)
        else:
            place = _onward(traces, place, parents)
            is_end = place is None
        if is_end or len(found) > limit:
            break
    rows = [
        Row(depth, trace_id, kept, found[at + 1][0] > depth if at + 1 < len(found) else (False if is_end else None))
        for at, (depth, trace_id, kept) in enumerate(found[:limit])
    ]
    if len(found) > limit:
        last = rows[-1]
        place = Place(last.trace_id, last.depth)
    return rows, place


def _look(traces: TraceOperations, place: Place | None, parents: dict[str, str | None]) -> tuple[int, Trace | None]:
    """Do one lookup from `place`; return the trace found, if any, and its depth."""
    if place is None:
        return 0, _first(traces.roots(1))
    if not place.is_past:
        return place.depth + 1, _first(traces.get_children(place.trace_id, 1))
    parent = _parent(traces, place.trace_id, parents)
    if parent is None:
        return place.depth, _first(traces.roots(1, place.trace_id))
    return place.depth, _first(traces.get_children(parent, 1, place.trace_id))


def _onward(traces: TraceOperations, place: Place | None, parents: dict[str, str | None]) -> Place | None:
    """Return the next place to look from after a lookup found nothing; None at the end of the tree."""
    if place is None:
        return None
    if not place.is_past:
        return Place(place.trace_id, place.depth, is_past=True)
    parent = _parent(traces, place.trace_id, parents)
    return None if parent is None else Place(parent, max(place.depth - 1, 0), is_past=True)


def _first(found: list[Trace]) -> Trace | None:
    return found[0] if found else None


def _parent(traces: TraceOperations, trace_id: str, parents: dict[str, str | None]) -> str | None:
    if trace_id not in parents:
        trace = traces.get(trace_id)
        parents[trace_id] = None if trace is None else trace.parent_id
    return parents[trace_id]
