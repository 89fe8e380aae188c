"""The deadlines of entries, in order of expiry: the reaper's work list."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from sortedcontainers import SortedSet

from inmem.engine.errors import InvariantError
from inmem.engine.keys import Tag
from inmem.engine.tables.entry import deadline_of, is_live

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inmem.engine.tables.snapshot import Snapshot

Deadline: TypeAlias = "tuple[int, str, bytes]"
"""Microseconds since the epoch, run, key."""


class Deadlines:
    """The latest known deadline of each key. A lease takes one place however often it is renewed."""

    def __init__(self) -> None:
        self._ordered: SortedSet[Deadline] = SortedSet()
        self._of_key: dict[tuple[str, bytes], int] = {}

    def __len__(self) -> int:
        return len(self._ordered)

    def note(self, deadlines: Iterable[Deadline]) -> None:
        """Note deadlines; each replaces the deadline known for its key. O(log n) each."""
        for deadline in deadlines:
            time_us, run, key = deadline
            before_us = self._of_key.get((run, key))
            if before_us is not None:
                self._ordered.discard((before_us, run, key))
            self._of_key[run, key] = time_us
            self._ordered.add(deadline)

    def first_us(self) -> int | None:
        """Return the earliest deadline, or None if there is none. O(1)."""
        return self._ordered[0][0] if self._ordered else None

    def due(self, now_us: int, limit: int) -> list[Deadline]:
        """Return at most `limit` deadlines that are not after `now_us`, earliest first. O(limit)."""
        return list(islice(self._ordered.irange(maximum=(now_us + 1, "", b""), inclusive=(True, False)), limit))

    def after(self, deadline: Deadline, limit: int) -> list[Deadline]:
        """Return at most `limit` deadlines that follow `deadline` in the order of expiry. O(limit)."""
        return list(islice(self._ordered.irange(deadline, inclusive=(False, True)), limit))

    def reconcile(self, deadlines: Iterable[Deadline], snapshot: Snapshot) -> None:
        """Replace each deadline by the one its key has in the snapshot, or forget it if the key has none there.

        O(log n) each. The snapshot must be at least as new as the noted deadlines: what it lacks is gone for good.
        """
        for deadline in deadlines:
            noted_us, run, key = deadline
            table = snapshot.table(run, Tag.KV)
            stored = None if table is None else table.stored(key)
            time_us = 0 if stored is None or not is_live(stored) else deadline_of(stored)
            if time_us != noted_us:
                self.forget((deadline,))
                if time_us:
                    self.note(((time_us, run, key),))

    def forget(self, deadlines: Iterable[Deadline]) -> None:
        """Forget deadlines, except where another one has been noted for the key since. O(log n) each."""
        for deadline in deadlines:
            time_us, run, key = deadline
            if self._of_key.get((run, key)) == time_us:
                del self._of_key[run, key]
                self._ordered.discard(deadline)

    def check(self) -> None:
        """Raise InvariantError unless each key has one deadline. O(n log n)."""
        if sorted((time_us, run, key) for (run, key), time_us in self._of_key.items()) != list(self._ordered):
            raise InvariantError("the deadlines in order are not those of the keys")
