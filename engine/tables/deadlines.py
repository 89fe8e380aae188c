"""When entries expire, in the order in which they do: the reaper's list of what to do."""

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
    """The latest known deadline of each key, however often it was written: a lease that is renewed takes one place."""

    def __init__(self) -> None:
        self._ordered: SortedSet[Deadline] = SortedSet()
        self._of_key: dict[tuple[str, bytes], int] = {}

    def __len__(self) -> int:
        return len(self._ordered)

    def note(self, deadlines: Iterable[Deadline]) -> None:
        """Note deadlines; each replaces what was known of its key. O(log n) each."""
        for deadline in deadlines:
            time_us, run, key = deadline
            before_us = self._of_key.get((run, key))
            if before_us is not None:
                self._ordered.discard((before_us, run, key))
            self._of_key[run, key] = time_us
            self._ordered.add(deadline)

    def first_us(self) -> int | None:
        """Return the earliest of all, or None if there is none. O(1)."""
        return self._ordered[0][0] if self._ordered else None

    def due(self, now_us: int, limit: int) -> list[Deadline]:
        """Return those that are not after `now_us`, earliest first, at most `limit`. O(limit)."""
        return list(islice(self._ordered.irange(maximum=(now_us + 1, "", b""), inclusive=(True, False)), limit))

    def after(self, deadline: Deadline, limit: int) -> list[Deadline]:
        """Return those behind `deadline` in the order of expiry, at most `limit`. O(limit)."""
        return list(islice(self._ordered.irange(deadline, inclusive=(False, True)), limit))

    def compare(self, deadlines: Iterable[Deadline], snapshot: Snapshot) -> None:
        """Forget those deadlines whose keys have none in the snapshot, and note the others as it has them.

        O(log n) each. The snapshot must be no older than what was noted: whatever it lacks is gone for good.
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
        """Forget deadlines, unless a later one was noted for the same key since. O(log n) each."""
        for deadline in deadlines:
            time_us, run, key = deadline
            if self._of_key.get((run, key)) == time_us:
                del self._of_key[run, key]
                self._ordered.discard(deadline)

    def check(self) -> None:
        """Raise InvariantError unless each key has one deadline. O(n log n)."""
        if sorted((time_us, run, key) for (run, key), time_us in self._of_key.items()) != list(self._ordered):
            raise InvariantError("the deadlines in order are not those of the keys")
