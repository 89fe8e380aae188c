"""One table as one transaction sees it: the snapshot, overlaid with the transaction's own writes, and what it read.

The view implements the rules of reading and buffering (docs/transactions.md): reads come from the snapshot, own writes
hide it, and per key the last operation in program order wins. It works on encoded bytes; callers encode values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from sortedcontainers import SortedList

from inmem.engine.commits.part import Slice
from inmem.engine.commits.undo import Undo
from inmem.engine.errors import TransactionClosedError
from inmem.engine.tables.entry import VALUE
from inmem.engine.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from inmem.engine.commits.part import Write
    from inmem.engine.commits.scope import Scope
    from inmem.engine.tables.entry import Entry, StoredEntry
    from inmem.engine.tables.snapshot import TableId


class TableView(Struct, eq=False):
    """The `View` of a table in a transaction. Reads never wait; writes are buffered until the transaction commits.

    Obtained from `Transaction.view`; every method raises `TransactionClosedError` once the transaction has ended.

    Attributes:
        table_id: the run that the table belongs to, and which of its tables it is.
        writes: the buffered writes, by key. Read-only for other classes.
    """

    _scope: Scope
    table_id: TableId
    _table: Table
    # The entries seen, None for a key that had never existed. Not their versions, which are rarely needed.
    _reads: dict[bytes, StoredEntry | None] = {}
    writes: dict[bytes, Write] = {}
    # The written keys that were only compared and swapped. The first-committer-wins rule does not apply to them.
    _swapped: dict[bytes, None] = {}
    # By key, in program order: (version, whether this transaction had dropped the run before).
    _expected: dict[bytes, tuple[tuple[int, bool], ...]] = {}
    _scans: dict[tuple[bytes, bytes | None], None] = {}
    # Whether this transaction has dropped the run. From then on reads do not come from the snapshot, and are not
    # remembered.
    _dropped: bool = False
    # The written keys in order, built by the first operation that needs the order and maintained from then on.
    _order: SortedList[bytes] | None = None

    def require_active(self) -> None:
        """Raise TransactionClosedError if the transaction has ended."""
        if self._scope.ended_as is not None:
            raise TransactionClosedError(self._scope.ended_as)

    def get(self, key: bytes) -> bytes | None:
        """Return the live value of `key`, or None. O(1)."""
        if self._scope.ended_as is not None:
            raise TransactionClosedError(self._scope.ended_as)
        if self.writes:
            own = self.writes.get(key)
            if own is not None:
                _, value, expires_at = own
                return None if expires_at and expires_at <= self._scope.now_us else value
        table = self._table
        stored = table.newest.get(key)
        if table.past.state is not None:
            stored = table.as_it_was(key, stored)
        if stored is None:
            if not self._dropped:
                self._reads[key] = None
            return None
        self._reads[key] = stored
        if isinstance(stored, bytes):
            return stored[VALUE]
        _, value, expires_at = stored
        return None if expires_at and expires_at <= self._scope.now_us else value

    def get_entry(self, key: bytes) -> Entry | None:
        """Return (version, value, expires_at_us) of a live key, or None. O(1).

        For a key that this transaction has written, the version is the committed one, which a compare-and-swap must
        expect.
        """
        value = self.get(key)
        if value is None:
            return None
        version, _, expires_at = self._committed(key)
        own = self.writes.get(key)
        if own is not None:
            self._remember(key)
            expires_at = own[2]
        return (version, value, expires_at)

    def version(self, key: bytes) -> int:
        """Return the committed version of `key`, a tombstone's included; 0 if it has never existed. O(1)."""
        if self._scope.ended_as is not None:
            raise TransactionClosedError(self._scope.ended_as)
        self._remember(key)
        return self._committed(key)[0]

    def wrote(self, key: bytes) -> bool:
        """Return whether this transaction has buffered a write or deletion of `key`. O(1)."""
        if self._scope.ended_as is not None:
            raise TransactionClosedError(self._scope.ended_as)
        return key in self.writes

    def put(self, key: bytes, value: bytes, expires_at_us: int = 0) -> None:
        """Buffer a write; other transactions see it once this one has committed. O(1)."""
        scope = self._scope
        if (
            scope.ended_as is None
            and scope.undo_log is None
            and self._order is None
            and not self._swapped
            and not expires_at_us
        ):
            self.writes[key] = (key, value, 0)
        else:
            self._buffer((key, value, expires_at_us))

    def put_all(self, keys: Sequence[bytes], value: bytes) -> None:
        """Buffer a write of `value` under each of the keys. O(keys)."""
        scope = self._scope
        if scope.ended_as is None and scope.undo_log is None and self._order is None and not self._swapped:
            self.writes.update({key: (key, value, 0) for key in keys})
        else:
            for key in keys:
                self._buffer((key, value, 0))

    def delete(self, key: bytes) -> bool:
        """Buffer the deletion of a live key; return whether there was one. O(1)."""
        if self.get(key) is None:
            return False
        if self._committed(key)[1] is None and key not in self._expected:
            # Only this transaction's own write made the key live. Removing that write leaves nothing to commit,
            # provided that the key is still not live at commit. After a compare-and-swap a write must remain: a
            # transaction without writes is not validated, but the compare-and-swap must be.
            self._remember(key)
            self._unbuffer(key)
        else:
            self._buffer((key, None, 0))
        return True

    def remove_expired(self, key: bytes, before_us: int) -> bool:
        """Buffer a tombstone if the committed entry's deadline is not after `before_us`; return whether this was done.

        For the reaper. To other callers an expired key is already absent, and deleting an absent key writes nothing.
        A key that this transaction has written is left alone. O(1).
        """
        if self._scope.ended_as is not None:
            raise TransactionClosedError(self._scope.ended_as)
        _, value, expires_at = self._committed(key)
        if value is None or not 0 < expires_at <= before_us or key in self.writes:
            return False
        self._remember(key)
        self._buffer((key, None, 0))
        return True

    def cas(self, key: bytes, expected_version: int, value: bytes, expires_at_us: int = 0) -> None:
        """Buffer a write that commits only if `key` has `expected_version` at commit (0: never existed). O(1)."""
        expectation = (expected_version, self._dropped)
        # Keep earlier expectations: a compare-and-swap must succeed even if a later write replaces its value.
        earlier = self._expected.get(key, ())
        is_new = expectation not in earlier
        self._buffer((key, value, expires_at_us), expectation if is_new else None, swaps=True)
        if is_new:
            self._expected[key] = (*earlier, expectation)

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the live (key, value) pairs of [start, end) in key order, merged with the transaction's own writes.

        Every key yielded from the snapshot is remembered as read; a serializable transaction remembers the range as
        well. Writes made while the iterator is open do not change what it yields. O(1) per key.
        """
        if self._scope.ended_as is not None:
            raise TransactionClosedError(self._scope.ended_as)
        if self._scope.track_scans and not self._dropped:
            self._scans[start, end] = None
        own: list[Write] = []
        if self.writes:
            keys = self._ordered().irange(start, end, inclusive=(True, False), reverse=reverse)
            own = [self.writes[key] for key in keys]
        return self._merge(self._table, own, start, end, reverse=reverse)

    def last(self) -> tuple[bytes, bytes] | None:
        """Return the last live (key, value) of the table, own writes included, or None. Amortised O(log n)."""
        if self._scope.ended_as is not None:
            raise TransactionClosedError(self._scope.ended_as)
        found = self._last_own() if self.writes else self._last_committed()
        if found is None:
            writes = self.writes
            own = (writes[key] for key in reversed(self._ordered())) if writes else ()
            found = next(self._merge(self._table, own, b"", None, reverse=True), None)
        if self._scope.track_scans and not self._dropped:
            self._scans[b"" if found is None else found[0], None] = None
        return found

    def count(self) -> int:
        """Return the number of keys that are not deleted, own writes included. O(own writes)."""
        if self._scope.ended_as is not None:
            raise TransactionClosedError(self._scope.ended_as)
        if self._scope.track_scans and not self._dropped:
            self._scans[b"", None] = None
        live = self._table.live_count
        for key, value, _ in self.writes.values():
            live += (value is not None) - (self._committed(key)[1] is not None)
        return live

    def _last_own(self) -> tuple[bytes, bytes] | None:
        """Return the last own write if it is live and no key of the table follows it, as is usual in a log."""
        key = self._ordered()[-1]
        _, value, expires_at = self.writes[key]
        if value is None or (expires_at and expires_at <= self._scope.now_us):
            return None
        last = self._table.keys.last()
        return (key, value) if last is None or last <= key else None

    def _last_committed(self) -> tuple[bytes, bytes] | None:
        """Return the last pair of the table if it is live, as is usual in a log. Called only without own writes."""
        table = self._table
        key = table.keys.last()
        stored = None if key is None else table.stored(key)
        if key is None or stored is None:
            return None
        if isinstance(stored, bytes):
            value: bytes | None = stored[VALUE]
        else:
            _, value, expires_at = stored
            if expires_at and expires_at <= self._scope.now_us:
                return None
        if value is None:
            return None
        if not self._dropped:
            self._reads[key] = stored
        return key, value

    def _committed(self, key: bytes) -> Entry:
        return self._table.get(key) or (0, None, 0)

    def _remember(self, key: bytes) -> None:
        if not self._dropped:
            self._reads[key] = self._table.stored(key)

    def _merge(
        self, table: Table, own: Iterable[Write], start: bytes, end: bytes | None, *, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        scope = self._scope
        if scope.ended_as is not None:
            raise TransactionClosedError(scope.ended_as)
        now_us = scope.now_us
        reads = self._reads
        own_writes = iter(own)
        mine = next(own_writes, None)
        for key, stored in table.stored_range(start, end, reverse=reverse):
            while mine is not None and (mine[0] > key if reverse else mine[0] < key):
                if mine[1] is not None and not (mine[2] and mine[2] <= now_us):
                    yield mine[0], mine[1]
                    if scope.ended_as is not None:
                        raise TransactionClosedError(scope.ended_as)
                mine = next(own_writes, None)
            if mine is not None and mine[0] == key:
                continue
            if isinstance(stored, bytes):
                reads[key] = stored
                yield key, stored[VALUE]
            else:
                _, value, expires_at = stored
                if value is None or (expires_at and expires_at <= now_us):
                    continue
                reads[key] = stored
                yield key, value
            if scope.ended_as is not None:
                raise TransactionClosedError(scope.ended_as)
        while mine is not None:
            if mine[1] is not None and not (mine[2] and mine[2] <= now_us):
                yield mine[0], mine[1]
                if scope.ended_as is not None:
                    raise TransactionClosedError(scope.ended_as)
            mine = next(own_writes, None)

    def _ordered(self) -> SortedList[bytes]:
        if self._order is None:
            self._order = SortedList(self.writes)
        return self._order

    def _buffer(self, write: Write, expectation: tuple[int, bool] | None = None, *, swaps: bool = False) -> None:
        if self._scope.ended_as is not None:
            raise TransactionClosedError(self._scope.ended_as)
        key = write[0]
        if write[2]:
            self._scope.has_deadlines = True
        self._note_undo(key, expectation)
        if key not in self.writes:
            if self._order is not None:
                self._order.add(key)
            if swaps:
                self._swapped[key] = None
        elif not swaps:
            self._swapped.pop(key, None)
        self.writes[key] = write

    def _unbuffer(self, key: bytes) -> None:
        self._note_undo(key)
        del self.writes[key]
        self._swapped.pop(key, None)
        if self._order is not None:
            self._order.remove(key)

    def _note_undo(self, key: bytes, expectation: tuple[int, bool] | None = None) -> None:
        if self._scope.undo_log is not None:
            self._scope.undo_log.append(Undo(self, key, self.writes.get(key), key in self._swapped, expectation))

    def undo(self, undo: Undo) -> None:
        """Undo the latest write, described by `undo`. Called only by the transaction."""
        key = undo.key
        if undo.write is None:
            if self.writes.pop(key, None) is not None and self._order is not None:
                self._order.remove(key)
        else:
            if self._order is not None and key not in self.writes:
                self._order.add(key)
            self.writes[key] = undo.write
        if undo.was_swapped:
            self._swapped[key] = None
        else:
            self._swapped.pop(key, None)
        if undo.expectation is not None:
            # The expectation added last for this key.
            earlier = self._expected.pop(key)[:-1]
            if earlier:
                self._expected[key] = earlier

    def copy(self) -> TableView:
        """Return a copy of the view's present state, for `restore`."""
        twin = TableView(self._scope, self.table_id, self._table)
        twin.restore(self)
        return twin

    def restore(self, earlier: TableView) -> None:
        """Return to the state that `copy` saved; reads made since then stay remembered."""
        self._table = earlier._table
        self._dropped = earlier._dropped
        self.writes = dict(earlier.writes)
        self._swapped = dict(earlier._swapped)
        self._expected = dict(earlier._expected)
        self._order = None

    def attach(self, table: Table | None) -> None:
        """Show `table` again after undoing the drop that had hidden it."""
        self._table = Table.EMPTY if table is None else table
        self._dropped = False

    def forget(self) -> None:
        """Show an empty table, because the run was dropped. Earlier reads and expectations are still validated."""
        self._table = Table.EMPTY
        self._dropped = True
        self.writes = {}
        self._swapped = {}
        self._order = None

    def release(self) -> None:
        """Let go of the table, and of what was read and written, once the transaction has ended."""
        self._table = Table.EMPTY
        self._reads.clear()
        self.writes.clear()
        self._order = None

    def slice(self) -> Slice:
        """Return what the transaction did to this table, as an immutable value. O(reads + writes)."""
        reads = tuple(self._reads.items()) if self._reads else ()
        swapped = tuple(self._swapped) if self._swapped else ()
        expected = self._expectations() if self._expected else ()
        scans = tuple(self._scans) if self._scans else ()
        return Slice(self.table_id, reads, swapped, expected, scans, tuple(self.writes.values()))

    def _expectations(self) -> tuple[tuple[bytes, int, bool], ...]:
        return tuple([(key, *each) for key, of_key in self._expected.items() for each in of_key])
