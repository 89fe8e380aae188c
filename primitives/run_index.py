"""The index entries by which runs are found, in the namespace ""; index_key.py describes their layout.

Each run has one entry in the table of its status, and in RUN_INDEX one per tag and one as a child of its parent. All
entries of a run end with the same suffix, (position, run id). So every range of entries is in order of creation, and an
intersection of ranges can be computed in that order.

Each status has its own table, and a table knows its size. So counting runs by status is O(1), without a counter that
every transaction would have to write.
"""

from __future__ import annotations

from heapq import merge
from typing import TYPE_CHECKING, Final, NamedTuple

from inmem.engine.keys import Tag, prefix_end
from inmem.engine.packing import pack
from inmem.primitives.index_key import POSITION_BYTES, PRESENT, name_component
from inmem.primitives.run_record import RUN_KEY
from inmem.primitives.run_status import STATUS_TAGS, RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inmem.engine.commits.transaction import Transaction
    from inmem.engine.commits.view import View
    from inmem.primitives.run_record import RunRecord

NAMESPACE: Final = ""
"""The namespace of data that spans runs; it is never a run id."""

_BY_TAG: Final = b"\x01"
_BY_PARENT: Final = b"\x02"


class EntryRange(NamedTuple):
    """The entries of one table that start with a prefix."""

    view: View
    prefix: bytes

    def suffixes(self, low: bytes, high: bytes | None, *, reverse: bool = False) -> Iterator[bytes]:
        """Yield the suffixes in [low, high), in ascending or descending order."""
        start = len(self.prefix)
        end = prefix_end(self.prefix) if high is None else self.prefix + high
        return (key[start:] for key, _ in self.view.scan(self.prefix + low, end, reverse=reverse))


def run_id_of(suffix: bytes) -> str:
    """Return the id of the run that an entry belongs to."""
    return suffix[POSITION_BYTES:].decode()


def suffix_of(position: bytes, run_id: str) -> bytes:
    """Return the suffix of all entries of a run."""
    return position + run_id.encode()


def index_keys(name: str, record: RunRecord) -> list[tuple[int, bytes]]:
    """Return exactly the entries that a run must have, as (tag of the table in NAMESPACE, key)."""
    suffix = suffix_of(record.position, name)
    keys: list[tuple[int, bytes]] = [(STATUS_TAGS[record.status], suffix)]
    keys += [(Tag.RUN_INDEX, _BY_TAG + name_component(tag) + suffix) for tag in record.tags]
    if record.parent is not None:
        keys.append((Tag.RUN_INDEX, _BY_PARENT + name_component(record.parent) + suffix))
    return keys


class RunEntries:
    """The index entries of all runs, inside one transaction."""

    __slots__ = ("_index", "_txn")

    def __init__(self, txn: Transaction) -> None:
        self._txn = txn
        self._index = txn.view(NAMESPACE, Tag.RUN_INDEX)

    def of_status(self, status: RunStatus) -> EntryRange:
        """Return the entries of the runs that have a status."""
        return EntryRange(self._txn.view(NAMESPACE, STATUS_TAGS[status]), b"")

    def of_tag(self, tag: str) -> EntryRange:
        """Return the entries of the runs that have a tag."""
        return EntryRange(self._index, _BY_TAG + name_component(tag))

    def of_parent(self, run_id: str) -> EntryRange:
        """Return the entries of a run's children."""
        return EntryRange(self._index, _BY_PARENT + name_component(run_id))

    def count(self, status: RunStatus) -> int:
        """Return the number of runs with a status. O(index entries written in this transaction)."""
        return self.of_status(status).view.count()

    def select(
        self,
        status: RunStatus | None = None,
        tags: Iterable[str] = (),
        parent: str | None = None,
        low: bytes = b"",
        high: bytes | None = None,
        *,
        include_archived: bool = True,
        newest_first: bool = False,
    ) -> Iterator[str]:
        """Yield the ids of the runs that match every filter, with positions in [low, high), in order of creation.

        `include_archived` has an effect only without a status, tag or parent filter.
        """
        ranges = [self.of_tag(tag) for tag in tags]
        if parent is not None:
            ranges.append(self.of_parent(parent))
        if status is not None:
            ranges.append(self.of_status(status))
        if ranges:
            return map(run_id_of, intersection(ranges, low, high, reverse=newest_first))
        statuses = [status for status in RunStatus if include_archived or status is not RunStatus.ARCHIVED]
        return map(run_id_of, union(map(self.of_status, statuses), low, high, reverse=newest_first))

    def entries_of(self, name: str, record: RunRecord) -> dict[tuple[View, bytes], None]:
        """Return exactly the entries that a run must have, as (table, key)."""
        return dict.fromkeys((self._txn.view(NAMESPACE, tag), key) for tag, key in index_keys(name, record))

    def store(self, name: str, old: RunRecord | None, new: RunRecord) -> None:
        """Replace a run's record `old` with `new`, and update its entries to match."""
        self._txn.view(name, Tag.RUN).put(RUN_KEY, pack(new))
        update_entries({} if old is None else self.entries_of(name, old), self.entries_of(name, new))


def update_entries(old: dict[tuple[View, bytes], None], new: dict[tuple[View, bytes], None]) -> None:
    """Remove the entries that are only in `old` and add those that are only in `new`."""
    for view, key in old:
        if (view, key) not in new:
            view.delete(key)
    for view, key in new:
        if (view, key) not in old:
            view.put(key, PRESENT)


def union(ranges: Iterable[EntryRange], low: bytes, high: bytes | None, *, reverse: bool = False) -> Iterator[bytes]:
    """Yield the suffixes in [low, high) of all ranges, merged in order. No suffix may be in two ranges. O(1) each."""
    return merge(*[entry_range.suffixes(low, high, reverse=reverse) for entry_range in ranges], reverse=reverse)


def intersection(ranges: list[EntryRange], low: bytes, high: bytes | None, *, reverse: bool = False) -> Iterator[bytes]:
    """Yield the suffixes in [low, high) that are in all of the ranges, in ascending or descending order.

    A leapfrog join (Veldhuizen, "Leapfrog Triejoin", ICDT 2014): each range in turn seeks its first suffix that is not
    below the greatest seen so far, until all ranges agree. So the smallest range, whichever it is, bounds the work:
    O(ranges * log n) per suffix in it. The result is lazy: taking its start costs only the work for that start.
    """
    if len(ranges) == 1:
        yield from ranges[0].suffixes(low, high, reverse=reverse)
        return
    target: bytes | None = None
    agreeing = 0
    while True:
        for entry_range in ranges:
            suffix = next(entry_range.suffixes(low, high, reverse=reverse), None)
            if suffix is None:
                return
            agreeing = agreeing + 1 if suffix == target else 1
            target = suffix
            is_found = agreeing == len(ranges)
            if is_found:
                yield suffix
                agreeing = 0
            # `suffix` + 00 is the next byte string after `suffix`. A suffix that was found is excluded from the
            # remaining range; a mere candidate stays in it.
            if reverse:
                high = suffix if is_found else suffix + b"\x00"
            else:
                low = suffix + b"\x00" if is_found else suffix
