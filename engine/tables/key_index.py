"""An immutable ordered set of keys that only grows: versions share most of their nodes.

A B+ tree (Bayer and McCreight 1972; an insertion copies the path to the changed leaf, as in bbolt). Leaves are plain
tuples of `bytes`, which the garbage collector soon stops tracking. Keys are never removed, because tombstones last as
long as their table; hence nodes split but never merge. A node on the right edge splits unevenly, leaving the left part
full, so appending in order produces full chunks instead of half-full ones.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain, pairwise
from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias

from msgspec import Struct

from inmem.engine.errors import InvariantError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Branch(Struct, frozen=True, eq=False, gc=False):
    """An inner node: its children in key order, and the splits between them.

    ``splits[i]`` is greater than every key of ``children[i]`` and not greater than any key of ``children[i + 1]``.
    """

    splits: tuple[bytes, ...]
    children: tuple[_Node, ...]


_Leaf: TypeAlias = tuple[bytes, ...]
_Node: TypeAlias = _Leaf | Branch


class KeyIndex(Struct, frozen=True, eq=False, gc=False):
    """An immutable sorted set of `bytes` keys; inserting returns a new set and leaves this one unchanged.

    With n keys, an insert copies O(log n) chunks. Membership tests and finding the ends of a range take O(log n)
    comparisons, and each key of a range O(1).
    """

    _root: _Node
    _size: int

    chunk_max: ClassVar[int] = 64
    """Keys per leaf and children per branch: a smaller value makes the tree deeper, a larger one the copies longer."""

    few_max: ClassVar[int] = 8
    """Up to this many keys are inserted one by one: copying the path for each takes half as long as merging them."""

    @classmethod
    def empty(cls) -> Self:
        """Return an index without keys."""
        return cls((), 0)

    @classmethod
    def from_sorted(cls, keys: list[bytes]) -> Self:
        """Return an index of `keys`, which must be strictly ascending. O(n)."""
        # Slice the list directly: an intermediate tuple of all keys would leave a hole of its size between the leaves.
        nodes: list[_Node] = [tuple(keys[low : low + cls.chunk_max]) for low in range(0, len(keys), cls.chunk_max)]
        while len(nodes) > 1:
            nodes = _branches(nodes, _lows(nodes), cls.chunk_max, right_edge=True)
        return cls(nodes[0] if nodes else (), len(keys))

    def __len__(self) -> int:
        return self._size

    def __contains__(self, key: bytes) -> bool:
        node = self._root
        while isinstance(node, Branch):
            node = node.children[bisect_right(node.splits, key)]
        at = bisect_left(node, key)
        return at < len(node) and node[at] == key

    def insert(self, key: bytes) -> Self:
        """Return an index that also has `key`; the index itself if the key is present already.

        Complexity: O(log n), each of the log n steps copying one chunk.
        """
        path: list[tuple[Branch, int]] = []
        node = self._root
        while isinstance(node, Branch):
            at = bisect_right(node.splits, key)
            path.append((node, at))
            node = node.children[at]
        at = bisect_left(node, key)
        if at < len(node) and node[at] == key:
            return self
        if len(node) == self.chunk_max:
            return self._merged((key,))
        grown: _Node
        if at == len(node):
            # The common case in a log. Takes half as long as unpacking the node into a new tuple.
            grown = node + (key,)  # noqa: RUF005
        else:
            keys = list(node)
            keys.insert(at, key)
            grown = tuple(keys)
        for branch, at in reversed(path):
            children = list(branch.children)
            children[at] = grown
            grown = Branch(branch.splits, tuple(children))
        return self.__class__(grown, self._size + 1)

    def insert_many(self, keys: list[bytes] | tuple[bytes, ...]) -> Self:
        """Return an index that also has `keys`, which must be strictly ascending.

        Complexity: O(k log n) for k keys, copying each touched chunk once; O(k + log n) if all of them follow the last
        key.
        """
        if len(keys) <= self.few_max:
            index = self
            for key in keys:
                index = index.insert(key)
            return index
        return self._merged(tuple(keys))

    def _merged(self, keys: tuple[bytes, ...]) -> Self:
        nodes, added = _merge(self._root, keys, self.chunk_max, right_edge=True)
        if not added:
            return self
        while len(nodes) > 1:
            nodes = _branches(nodes, _lows(nodes), self.chunk_max, right_edge=True)
        return self.__class__(nodes[0], self._size + added)

    def last(self) -> bytes | None:
        """Return the greatest key, or None if there is none. O(log n)."""
        node = self._root
        while isinstance(node, Branch):
            node = node.children[-1]
        return node[-1] if node else None

    def chunks(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, ...]]:
        """Iterate over the keys of [start, end) in order, or in reverse order, as non-empty tuples.

        Cheaper than a step per key. `end` None means no upper bound.
        """
        return _chunks(self._root, start, end, reverse=reverse)

    def range(self, start: bytes = b"", end: bytes | None = None) -> Iterator[bytes]:
        """Iterate over the keys of [start, end), ascending; `end` None means no upper bound."""
        return chain.from_iterable(_chunks(self._root, start, end, reverse=False))

    def check(self) -> None:
        """Raise InvariantError unless order, separators, fill, depth and size are right. O(n)."""
        depth = 0
        node = self._root
        while isinstance(node, Branch):
            depth += 1
            node = node.children[0]
        if isinstance(self._root, Branch) and len(self._root.children) < 2:
            raise InvariantError("the root has a single child")
        _check_node(self._root, depth, self.chunk_max, None, None, right_edge=True)
        keys = list(self.range())
        if any(low >= high for low, high in pairwise(keys)):
            raise InvariantError("keys are not strictly ascending")
        if len(keys) != self._size:
            raise InvariantError(f"{len(keys)} keys counted as {self._size}")


def _low(node: _Node) -> bytes:
    while isinstance(node, Branch):
        node = node.children[0]
    return node[0]


def _pieces(count: int, most: int, *, right_edge: bool) -> list[slice]:
    """Return where to cut `count` items into pieces of at most `most`.

    On the right edge of the tree all pieces but the last are full. Elsewhere they are of even size, so each is at least
    half full.
    """
    if right_edge:
        bounds = [*range(0, count, most), count]
    else:
        pieces = -(-count // most)
        bounds = [count * piece // pieces for piece in range(pieces + 1)]
    return [slice(low, high) for low, high in pairwise(bounds)]


def _branches(nodes: list[_Node], splits: list[bytes], most: int, *, right_edge: bool) -> list[_Node]:
    """Return branches of the nodes, which `splits` separate from one another."""
    if len(nodes) <= most:
        return [Branch(tuple(splits), tuple(nodes))]
    return [
        Branch(tuple(splits[piece.start : piece.stop - 1]), tuple(nodes[piece]))
        for piece in _pieces(len(nodes), most, right_edge=right_edge)
    ]


def _lows(nodes: list[_Node]) -> list[bytes]:
    """Return what separates the nodes from one another."""
    return [_low(node) for node in nodes[1:]]


def _merge(node: _Node, keys: tuple[bytes, ...], most: int, *, right_edge: bool) -> tuple[list[_Node], int]:
    """Merge `keys` into `node`; return the nodes of the same height that replace it, and how many keys were new."""
    if isinstance(node, tuple):
        merged = _merge_leaf(node, keys)
        added = len(merged) - len(node)
        if len(merged) <= most:
            return [merged], added
        return [merged[piece] for piece in _pieces(len(merged), most, right_edge=right_edge)], added
    splits = node.splits
    children: list[_Node] = []
    between: list[bytes] = []
    added = taken = copied = 0
    # Step from key to key, not from child to child: a few keys among many children touch only a few children.
    while taken < len(keys):
        at = bisect_right(splits, keys[taken], copied)
        children += node.children[copied:at]
        between += splits[copied:at]
        stop = len(keys) if at == len(splits) else bisect_left(keys, splits[at], taken)
        edge = right_edge and at == len(splits)
        nodes, count = _merge(node.children[at], keys[taken:stop], most, right_edge=edge)
        children += nodes
        if len(nodes) > 1:
            between += _lows(nodes)
        between += splits[at : at + 1]
        added += count
        taken = stop
        copied = at + 1
    children += node.children[copied:]
    between += splits[copied:]
    return _branches(children, between, most, right_edge=right_edge), added


def _merge_leaf(leaf: _Leaf, keys: tuple[bytes, ...]) -> _Leaf:
    """Return the leaf with `keys` in it. O(leaf + keys)."""
    if not leaf or leaf[-1] < keys[0]:
        return leaf + keys
    at = bisect_left(leaf, keys[0])
    if leaf[at] > keys[-1]:
        # The usual case: all of them come between the same two, as the newest entries of an index under one name do.
        return leaf[:at] + keys + leaf[at:]
    return tuple(dict.fromkeys(sorted(leaf + keys)))


def _chunks(node: _Node, start: bytes, end: bytes | None, *, reverse: bool) -> Iterator[tuple[bytes, ...]]:
    if isinstance(node, tuple):
        part = node[bisect_left(node, start) : None if end is None else bisect_left(node, end)]
        if part:
            yield part[::-1] if reverse else part
        return
    last = None if end is None else bisect_left(node.splits, end) + 1
    children = node.children[bisect_right(node.splits, start) : last]
    for child in reversed(children) if reverse else children:
        yield from _chunks(child, start, end, reverse=reverse)


def _check_node(node: _Node, depth: int, most: int, low: bytes | None, high: bytes | None, *, right_edge: bool) -> None:
    """Check one subtree: keys in [low, high), leaves `depth` levels below."""
    if isinstance(node, Branch) != (depth > 0):
        raise InvariantError("leaves lie at different depths")
    items = node.children if isinstance(node, Branch) else node
    least = 0 if right_edge else (most + 1) // 2
    if not least <= len(items) <= most:
        raise InvariantError(f"a node of {len(items)} items, {least} to {most} allowed")
    if isinstance(node, tuple):
        for key in node:
            if type(key) is not bytes or (low is not None and key < low) or (high is not None and key >= high):
                raise InvariantError(f"key {key!r} is not bytes in [{low!r}, {high!r})")
        return
    if len(node.splits) != len(node.children) - 1:
        raise InvariantError(f"{len(node.splits)} splits for {len(node.children)} children")
    bounds = [low, *node.splits, high]
    for child, (child_low, child_high) in zip(node.children, pairwise(bounds), strict=True):
        edge = right_edge and child is node.children[-1]
        _check_node(child, depth - 1, most, child_low, child_high, right_edge=edge)
