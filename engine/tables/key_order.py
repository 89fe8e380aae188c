"""The keys of a table in order: an index, plus the newest keys, which are not yet in the index.

Inserting a key into the index copies a chunk of keys on each level. A commit that only adds entries does not need the
order, so its keys wait outside the index, and a few dozen are inserted together for a fraction of what they would cost
one by one. A reader that needs the order earlier brings the index up to date, once per version of the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from msgspec import Struct

from inmem.engine.errors import InvariantError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.engine.tables.key_index import KeyIndex

WAITING_MAX = 64
"""The most keys that may wait. Inserting them together costs a fraction of inserting each alone, but all at once: some
30 µs at the end of a table, 0.8 ms when scattered over a million keys. A limit four times as high would make an append
2 % cheaper, and the insertion would take 3 ms."""


class KeyOrder(Struct, eq=False, gc=False):
    """An ordered set of keys that only grows. It looks immutable from outside: `add` returns a new one."""

    # The index, and the keys that are not in it. A reader that needs the order moves all keys into the index and
    # replaces this tuple in one assignment, because other threads may be reading or adding.
    _state: tuple[KeyIndex, tuple[bytes, ...]]
    _last: bytes | None

    @classmethod
    def of(cls, index: KeyIndex) -> Self:
        """Return the order of the keys of an index. O(log n)."""
        return cls((index, ()), index.last())

    def __len__(self) -> int:
        index, waiting = self._state
        return len(index) + len(waiting)

    def add(self, keys: tuple[bytes, ...]) -> KeyOrder:
        """Return an order that also has `keys`: at least one, strictly ascending, none of them present already.

        Complexity: per key, amortized, 1 / `WAITING_MAX` of what `KeyIndex.insert_many` takes for `WAITING_MAX` keys.
        """
        index, waiting = self._state
        last = self._last
        greatest = keys[-1]
        if last is None or last < greatest:
            last = greatest
        waiting += keys
        if len(waiting) > WAITING_MAX:
            return KeyOrder((index.insert_many(sorted(waiting)), ()), last)
        return KeyOrder((index, waiting), last)

    def last(self) -> bytes | None:
        """Return the greatest key, or None if there is none. O(1)."""
        return self._last

    def chunks(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, ...]]:
        """Iterate over the keys of [start, end) in order, as `KeyIndex.chunks` does."""
        return self._up_to_date().chunks(start, end, reverse=reverse)

    def range(self, start: bytes = b"", end: bytes | None = None) -> Iterator[bytes]:
        """Iterate over the keys of [start, end), ascending; `end` None means no upper bound."""
        return self._up_to_date().range(start, end)

    def check(self) -> None:
        """Raise InvariantError unless the index is sound, holds each key once, and ends with the last. O(n)."""
        expected = len(self)
        index = self._up_to_date()
        index.check()
        if len(index) != expected:
            raise InvariantError(f"{len(index)} keys counted as {expected}")
        if index.last() != self._last:
            raise InvariantError(f"the last key is {index.last()!r}, recorded {self._last!r}")

    def _up_to_date(self) -> KeyIndex:
        index, waiting = self._state
        if waiting:
            index = index.insert_many(sorted(waiting))
            self._state = index, ()
        return index
