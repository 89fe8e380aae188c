"""Cycles in a graph of dependencies."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Edge(NamedTuple):
    """`source` must come before `target`."""

    source: str
    target: str
    kind: str
    """"ww", "wr", "rw" or "rt", or two of them."""
    reason: str


class Graph:
    """A graph, with edges by source. Of several edges between two nodes, the first is kept.

    Args:
        edges: the edges, in any order; an edge may lead from a node to itself.
    """

    def __init__(self, edges: Iterable[Edge]) -> None:
        self.successors: dict[str, dict[str, Edge]] = {}
        for edge in edges:
            self.successors.setdefault(edge.source, {}).setdefault(edge.target, edge)
            self.successors.setdefault(edge.target, {})

    def components(self) -> list[list[str]]:
        """Return the strongly connected components. O(nodes + edges).

        Source: Tarjan, "Depth-First Search and Linear Graph Algorithms", 1972, without the recursion.
        """
        index: dict[str, int] = {}
        low: dict[str, int] = {}
        stack: list[str] = []
        on_stack: set[str] = set()
        found: list[list[str]] = []
        for root in self.successors:
            if root in index:
                continue
            work = [(root, iter(self.successors[root]))]
            index[root] = low[root] = len(index)
            stack.append(root)
            on_stack.add(root)
            while work:
                node, targets = work[-1]
                for target in targets:
                    if target not in index:
                        index[target] = low[target] = len(index)
                        stack.append(target)
                        on_stack.add(target)
                        work.append((target, iter(self.successors[target])))
                        break
                    if target in on_stack:
                        low[node] = min(low[node], index[target])
                else:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[node])
                    if low[node] == index[node]:
                        at = stack.index(node)
                        found.append(stack[at:])
                        on_stack.difference_update(stack[at:])
                        del stack[at:]
        return found


def shortest_cycle(graph: Graph) -> list[Edge]:
    """Return the edges of a shortest cycle, or an empty list if there is none."""
    best: list[Edge] = []
    for component in graph.components():
        inside = set(component)
        for node in component:
            cycle = _cycle_through(graph, node, inside)
            if cycle and (not best or len(cycle) < len(best)):
                best = cycle
    return best


def _cycle_through(graph: Graph, start: str, inside: set[str]) -> list[Edge]:
    """Return a shortest cycle through `start` among the nodes `inside`, by breadth-first search."""
    came_by: dict[str, Edge] = {}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        for target, edge in graph.successors[node].items():
            if target == start:
                path = [edge]
                while path[-1].source != start:
                    path.append(came_by[path[-1].source])
                return path[::-1]
            if target in inside and target not in came_by:
                came_by[target] = edge
                waiting.append(target)
    return []
