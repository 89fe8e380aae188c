"""The interface through which primitives access a table, inside a transaction or outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inmem.engine.tables.entry import Entry


class View(Protocol):
    """A view of one table: a `TableView` in a transaction, a `ReadView` for reads outside any transaction."""

    def require_active(self) -> None:
        """Raise TransactionClosedError if the transaction has ended."""
        ...

    def get(self, key: bytes, /) -> bytes | None:
        """Return the live value of `key`, or None."""
        ...

    def get_entry(self, key: bytes, /) -> Entry | None:
        """Return (version, value, expires_at_us) of a live key, or None."""
        ...

    def version(self, key: bytes, /) -> int:
        """Return the committed version of `key`, a tombstone's included; 0 if it has never existed."""
        ...

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the live (key, value) pairs of [start, end) in key order."""
        ...

    def last(self) -> tuple[bytes, bytes] | None:
        """Return the last live (key, value), or None."""
        ...

    def count(self) -> int:
        """Return the number of keys that are not deleted."""
        ...

    def wrote(self, key: bytes, /) -> bool:
        """Return whether a write or deletion of `key` is buffered."""
        ...

    def put(self, key: bytes, value: bytes, expires_at_us: int = 0, /) -> None:
        """Buffer a write."""
        ...

    def put_all(self, keys: Sequence[bytes], value: bytes, /) -> None:
        """Buffer a write of `value` under each of the keys."""
        ...

    def delete(self, key: bytes, /) -> bool:
        """Buffer the deletion of a live key; return whether there was one."""
        ...

    def cas(self, key: bytes, expected_version: int, value: bytes, expires_at_us: int = 0, /) -> None:
        """Buffer a write that commits only if `key` has `expected_version` at commit."""
        ...

    def remove_expired(self, key: bytes, before_us: int, /) -> bool:
        """Buffer a tombstone if the entry's deadline is not after `before_us`; return whether it was buffered."""
        ...
