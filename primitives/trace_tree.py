"""Trees of traces: a trace with all its descendants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inmem.primitives.traces import Trace


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TraceTree:
    """A trace with the trees of its children, in recording order.

    Comparison, repr, `walk`, copy and pickle do not recurse, so chains of any depth are fine. Other code that visits
    the tree should use `walk` too.

    Attributes:
        root: the trace at the top.
        children: the trees of its children.
    """

    root: Trace
    children: tuple[TraceTree, ...]

    def walk(self) -> Iterator[tuple[int, Trace]]:
        """Yield (depth, trace) for every trace of the tree: parents before children, the root first at depth 0."""
        pending: list[tuple[int, TraceTree]] = [(0, self)]
        while pending:
            depth, tree = pending.pop()
            yield depth, tree.root
            pending.extend((depth + 1, child) for child in reversed(tree.children))

    def __eq__(self, other: object) -> bool:
        # The walk, with its depths, determines the tree.
        return isinstance(other, TraceTree) and list(self.walk()) == list(other.walk())

    # Unhashable, like traces: they hold dicts and lists.
    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Callable[[list[tuple[int, Trace]]], TraceTree], tuple[list[tuple[int, Trace]]]]:
        # Flat, because pickle and copy recurse into nested objects.
        return _tree_walked, (list(self.walk()),)

    def __repr__(self) -> str:
        count = sum(1 for _ in self.walk())
        return f"TraceTree(root={self.root.id!r}, {len(self.children)} children, {count} traces)"


def build_tree(root: Trace, children_of: Callable[[Trace], list[Trace]]) -> TraceTree:
    """Return the tree below `root`, calling `children_of` once per trace. O(traces), without recursion."""
    # Find all traces breadth-first, then build from the last to the first: children are complete before their parent.
    found = [root]
    spans: list[tuple[int, int]] = []
    for trace in found:
        start = len(found)
        found.extend(children_of(trace))
        spans.append((start, len(found)))
    trees: dict[int, TraceTree] = {}
    for at in reversed(range(len(found))):
        trees[at] = TraceTree(found[at], tuple([trees.pop(child) for child in range(*spans[at])]))
    return trees[0]


def _tree_walked(walked: list[tuple[int, Trace]]) -> TraceTree:
    """Return the tree whose `walk` yields `walked`. O(traces), without recursion."""
    # From the last to the first: the deeper trees that do not have a parent yet are the children of this trace.
    trees: list[tuple[int, TraceTree]] = []
    for depth, trace in reversed(walked):
        children: list[TraceTree] = []
        while trees and trees[-1][0] > depth:
            children.append(trees.pop()[1])
        trees.append((depth, TraceTree(trace, tuple(children))))
    return trees[0][1]
