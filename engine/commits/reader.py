"""Reads of one snapshot that are never validated: the read half of a transaction, without the record of reads.

A single read outside any transaction, a scan of a whole log or a report never commits, so there is no reason to
remember what it read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from inmem.engine.commits.transaction import Transaction
from inmem.engine.errors import InvariantError
from inmem.engine.tables.entry import VALUE, version_of
from inmem.engine.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.engine.commits.view import View
    from inmem.engine.tables.entry import Entry
    from inmem.engine.tables.snapshot import Snapshot


class ReadView:
    """One table of a snapshot, for reading only: the primitives read from it as from a transaction's view.

    The public objects for reading outside a transaction have no methods that write. The ones here raise InvariantError.
    """

    __slots__ = ("_reader", "_shown")

    def __init__(self, reader: Reader, table: Table | None) -> None:
        self._reader = reader
        self._shown = Table.EMPTY if table is None else table

    def require_active(self) -> None:
        """Do nothing: a read-only view never ends."""

    def get(self, key: bytes) -> bytes | None:
        """Return the live value of `key`, or None. O(1)."""
        table = self._shown
        stored = table.newest.get(key)
        if table.past.state is not None:
            stored = table.as_it_was(key, stored)
        if stored is None:
            return None
        if isinstance(stored, bytes):
            return stored[VALUE]
        _, value, expires_at = stored
        return None if expires_at and expires_at <= self._reader.now_us else value

    def get_entry(self, key: bytes) -> Entry | None:
        """Return (version, value, expires_at_us) of a live key, or None. O(1)."""
        entry = self._shown.get(key)
        if entry is None or entry[1] is None or (entry[2] and entry[2] <= self._reader.now_us):
            return None
        return entry

    def version(self, key: bytes) -> int:
        """Return the version of `key`, a tombstone's included; 0 if it has never existed. O(1)."""
        return version_of(self._shown.stored(key))

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the live (key, value) pairs of [start, end) in key order. O(1) per key."""
        now_us = self._reader.now_us
        for key, stored in self._shown.stored_range(start, end, reverse=reverse):
            if isinstance(stored, bytes):
                yield key, stored[VALUE]
                continue
            _, value, expires_at = stored
            if value is not None and not (expires_at and expires_at <= now_us):
                yield key, value

    def last(self) -> tuple[bytes, bytes] | None:
        """Return the last live (key, value) of the table, or None."""
        return next(self.scan(reverse=True), None)

    def count(self) -> int:
        """Return the number of keys that are not deleted. O(1)."""
        return self._shown.live_count

    def wrote(self, key: bytes) -> bool:  # noqa: ARG002  (whatever the key)
        """Return False: a read-only view has no writes."""
        return False

    def put(self, *_: object) -> NoReturn:
        """Raise InvariantError, as every writing method does."""
        raise InvariantError("a reader was asked to write")

    put_all = delete = cas = remove_expired = put


class _NoEntropy:
    """The entropy of a transaction that only reads, and so never needs an id."""

    def bits(self, count: int) -> int:  # noqa: ARG002  (none is given)
        raise InvariantError("a reader was asked for an id")

    def uniform(self) -> float:
        raise InvariantError("a reader was asked for a random number")


class Reader(Transaction):
    """A transaction that only reads, remembers nothing and is never committed.

    Args:
        snapshot: the state to read.
        now_us: the time by which expiry is judged.
    """

    __slots__ = ()

    def __init__(self, snapshot: Snapshot, now_us: int) -> None:
        super().__init__(0, snapshot, now_us, _NoEntropy())

    def view(self, run: str, tag: int) -> View:
        """Return a view of one table. O(1)."""
        return ReadView(self, self.snapshot.table(run, tag))
