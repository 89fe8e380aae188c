"""What a transaction did, as validation needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from inmem.engine.table_view import Slice


class Part(Struct, frozen=True):
    """What one transaction did on one shard. Immutable."""

    transaction_id: int
    start_version: int
    slices: tuple[Slice, ...]
    dropped_runs: tuple[str, ...]
    """Runs deleted whole. They vanish before the writes of `slices` take effect."""
