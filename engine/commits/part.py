"""What a transaction did, as validation, the tables and the log need it: a slice per table, a part per shard."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from inmem.engine.tables.entry import StoredEntry
    from inmem.engine.tables.snapshot import TableId

Write: TypeAlias = tuple[bytes, bytes | None, int]
"""(key, encoded value or None to leave a tombstone, expiry in microseconds or 0 for never)."""


class Slice(Struct, frozen=True):
    """What one transaction did to one table. Immutable."""

    table_id: TableId
    reads: tuple[tuple[bytes, StoredEntry | None], ...]
    """Keys read from the snapshot, each with the entry seen; None for a key that had never existed. Validation compares
    only versions."""
    swapped: tuple[bytes, ...]
    """Written keys that were only compared and swapped, to which the first-committer-wins rule does not apply."""
    expected: tuple[tuple[bytes, int, bool], ...]
    """Compare-and-swapped keys, the version each must have, and whether this transaction had dropped the run before the
    compare-and-swap: in that case the key does not exist, whatever other transactions have committed."""
    scans: tuple[tuple[bytes, bytes | None], ...]
    """Scanned ranges [start, end); empty unless the transaction is serializable."""
    writes: tuple[Write, ...]

    @property
    def run(self) -> str:
        """The run that the table belongs to."""
        return self.table_id[0]

    @property
    def tag(self) -> int:
        """Which of the run's tables it is."""
        return self.table_id[1]

    @property
    def judged(self) -> list[bytes]:
        """The keys under the first-committer-wins rule: those put or deleted. O(writes)."""
        swapped = {*self.swapped}
        return [key for key, _, _ in self.writes if key not in swapped]


class Part(Struct, frozen=True):
    """What one transaction did on one shard. Immutable."""

    transaction_id: int
    start_version: int
    slices: tuple[Slice, ...]
    dropped_runs: tuple[str, ...]
    """Runs deleted as a whole, before the writes of `slices` take effect."""
    judges_drops: bool
    """Whether the deleted runs must be unchanged since the snapshot: see `Transaction`."""
