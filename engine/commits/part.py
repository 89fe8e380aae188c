"""What a transaction did, as validation, the tables and the log need it: a slice per table, a part per shard."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from inmem.engine.tables.entry import StoredEntry

Write: TypeAlias = tuple[bytes, bytes | None, int]
"""(key, encoded value or None to leave a tombstone, expiry in microseconds or 0 for never)."""


class Slice(Struct, frozen=True):
    """What one transaction did to one table. Immutable."""

    run: str
    tag: int
    reads: tuple[tuple[bytes, StoredEntry | None], ...]
    """Keys read from the snapshot, each with the entry seen; None for a key that had never existed. Validation compares
    only versions."""
    judged: tuple[bytes, ...]
    """Keys under the first-committer-wins rule: those put or deleted, as opposed to compare-and-swapped."""
    expected: tuple[tuple[bytes, int, bool], ...]
    """Compare-and-swapped keys, the version each must have, and whether this transaction had dropped the run before the
    compare-and-swap: in that case the key does not exist, whatever other transactions have committed."""
    scans: tuple[tuple[bytes, bytes | None], ...]
    """Scanned ranges [start, end); empty unless the transaction is serializable."""
    writes: tuple[Write, ...]


class Part(Struct, frozen=True):
    """What one transaction did on one shard. Immutable."""

    transaction_id: int
    start_version: int
    slices: tuple[Slice, ...]
    dropped_runs: tuple[str, ...]
    """Runs deleted as a whole, before the writes of `slices` take effect."""
    judges_drops: bool
    """Whether the deleted runs must be unchanged since the snapshot: see `Transaction`."""
