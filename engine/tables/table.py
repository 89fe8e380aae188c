"""One run's keys of one type, as an immutable value: a persistent map and an ordered index.

Applying a commit returns a new table that shares nearly everything with the old one, so a snapshot is just a reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from inmem.engine.errors import InvariantError
from inmem.engine.tables.entry import (
    PACKED_VALUE_BYTES_MAX,
    Entry,
    StoredEntry,
    entry_of,
    is_large,
    is_live,
    pack_version,
    stored_entry,
    version_of,
)
from inmem.engine.tables.key_index import KeyIndex
from inmem.engine.tables.key_order import KeyOrder
from inmem.engine.tables.persistent_map import SPAN, Past, PersistentMap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from inmem.engine.commits.part import Write


class Table(PersistentMap[bytes, StoredEntry], eq=False, gc=False):
    """An immutable ordered map from key to Entry, tombstones included; the caller judges expiry.

    Attributes:
        keys: every key ever written, in order.
        live_count: how many entries are not tombstones, expired ones included.
        last_version: version of the newest entry, 0 if there is none.
    """

    keys: KeyOrder
    live_count: int
    last_version: int

    EMPTY: ClassVar[Table]

    @classmethod
    def of(cls, entries: dict[bytes, StoredEntry], keys: KeyOrder, live_count: int, last_version: int) -> Table:
        """Return the first table of a new line of versions. O(1): the table takes ownership of `entries`."""
        return cls(entries, Past(0), None, keys, live_count, last_version)

    @classmethod
    def build(cls, entries: Mapping[bytes, StoredEntry]) -> Table:
        """Return a table that holds exactly `entries`, packed or not. O(n log n), O(n) if in key order."""
        values = entries.values()
        return cls.of(
            dict(entries),
            KeyOrder.of(KeyIndex.from_sorted(sorted(entries))),
            sum(map(is_live, values)),
            max(map(version_of, values), default=0),
        )

    def get(self, key: bytes) -> Entry | None:
        """Return the key's entry, which may be a tombstone, or None if the key was never written. O(1)."""
        stored = self.stored(key)
        return None if stored is None else entry_of(stored)

    def apply(self, writes: Sequence[Write], version: int) -> Table:
        """Return the table after a commit of `version` that made `writes`; the last write of a key wins.

        Complexity: amortized O(1) per existing key and that of `KeyOrder.add` for new keys, one in many of which makes
        the dict grow. O(n) if this is not the newest version of its line.

        Raises:
            InvariantError: `version` is lower than one that the table already holds.
        """
        if version < self.last_version:
            raise InvariantError(f"version {version} applied after {self.last_version}")
        if not writes:
            return self
        if self.past.state is not None:
            copy = Table.of(self.as_dict(), self.keys, self.live_count, self.last_version)
            return copy.apply(writes, version)
        if len(writes) == 1:
            return self._with_one(writes[0], version)
        newest = self.newest
        live_count = self.live_count
        number = self.past.number + len(writes)
        changes: dict[bytes, StoredEntry] = {}
        replaced: dict[bytes, StoredEntry | None] = {}
        created: list[bytes] = []
        packed = pack_version(version)
        for key, value, expires_at_us in writes:
            if key in changes:
                live_count -= is_live(changes[key])
            else:
                replaced[key] = previous = newest.get(key)
                if previous is None:
                    created.append(key)
                elif isinstance(previous, bytes):
                    live_count -= 1
                else:
                    live_count -= previous[1] is not None
                    number += SPAN * is_large(previous)
            if value is None or expires_at_us or len(value) > PACKED_VALUE_BYTES_MAX:
                live_count += value is not None
                changes[key] = stored_entry(version, value, expires_at_us)
            else:
                # What `stored_entry` does, without packing the version for each.
                live_count += 1
                changes[key] = packed + value
        created.sort()
        keys = self.keys.add(tuple(created)) if created else self.keys
        span = self.span
        if span is None or number >= span.number + SPAN:
            span = self.next_span(number)
        newer: Past[bytes, StoredEntry] = Past(number)
        # In this order, because other threads may be reading.
        self.past.state = replaced, newer
        newest.update(changes)
        return Table(newest, newer, span, keys, live_count, version)

    def _with_one(self, write: Write, version: int) -> Table:
        """Do what `apply` does, for one write to the newest table of its line.

        It repeats the code of `apply`, because the common commit needs neither its dict, its lists nor its loop. To
        share even the end of it would cost a read-modify-write 2 %.
        """
        key, value, expires_at_us = write
        newest = self.newest
        live_count = self.live_count
        keys = self.keys
        number = self.past.number + 1
        previous = newest.get(key)
        if previous is None:
            keys = keys.add((key,))
        elif isinstance(previous, bytes):
            live_count -= 1
        else:
            live_count -= previous[1] is not None
            number += SPAN * is_large(previous)
        if value is not None:
            live_count += 1
        span = self.span
        if span is None or number >= span.number + SPAN:
            span = self.next_span(number)
        newer: Past[bytes, StoredEntry] = Past(number)
        # In this order, because other threads may be reading.
        self.past.state = {key: previous}, newer
        newest[key] = stored_entry(version, value, expires_at_us)
        return Table(newest, newer, span, keys, live_count, version)

    def range(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, Entry]]:
        """Iterate over (key, entry) of [start, end) in key order, tombstones included.

        Args:
            start: first key of the range.
            end: first key after the range; None means no upper bound.
            reverse: from the greatest key down.

        Complexity: O(log n) to begin, O(1) per key.
        """
        return ((key, entry_of(stored)) for key, stored in self.stored_range(start, end, reverse=reverse))

    def stored_range(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, StoredEntry]]:
        """Like `range`, but yield stored entries, for callers that cannot afford to unpack each one."""
        stored_of = self.newest.__getitem__
        past = self.past
        for chunk in self.keys.chunks(start, end, reverse=reverse):
            stored = list(map(stored_of, chunk))
            if past.state is not None and self.has_changed(chunk):
                stored = [cast("StoredEntry", self.as_it_was(*pair)) for pair in zip(chunk, stored, strict=True)]
            yield from zip(chunk, stored, strict=True)

    def changed_since(self, start: bytes, end: bytes | None, version: int) -> bytes | None:
        """Return the first key of [start, end) whose entry is newer than `version`, or None.

        Complexity: O(1) if nothing in the table is newer, else O(log n + keys in the range).
        """
        if self.last_version > version:
            for key, stored in self.stored_range(start, end):
                if version_of(stored) > version:
                    return key
        return None

    def check(self) -> None:
        """Raise InvariantError unless index, entries and counters agree. O(n)."""
        self.keys.check()
        entries = self.as_dict()
        if len(self.keys) != len(entries):
            raise InvariantError(f"{len(self.keys)} keys for {len(entries)} entries")
        live_count = last_version = 0
        for key in self.keys.range():
            stored = entries.get(key)
            if stored is None:
                raise InvariantError(f"key {key!r} has no entry")
            if type(stored) is not bytes and type(stored) is not tuple:
                raise InvariantError(f"the entry of {key!r} is neither bytes nor a tuple")
            entry = entry_of(stored)
            version, value, expires_at_us = entry
            if version < 1 or expires_at_us < 0 or not (value is None or type(value) is bytes):
                raise InvariantError(f"the entry of {key!r} is malformed: {entry!r}")
            live_count += value is not None
            last_version = max(last_version, version)
        if live_count != self.live_count:
            raise InvariantError(f"{live_count} live keys counted as {self.live_count}")
        if last_version != self.last_version:
            raise InvariantError(f"newest entry {last_version}, recorded {self.last_version}")


Table.EMPTY = Table.of({}, KeyOrder.of(KeyIndex.empty()), 0, 0)
# Marked as superseded from the start, so that every `apply` to it begins a new line of versions.
Table.EMPTY.past.state = {}, Past(1)
