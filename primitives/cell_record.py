"""The stored form of a cell, under the cell's name."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from inmem.engine.limits import INT_MAX
from inmem.primitives.record import Record, Time, unpacking


class CellRecord(Record, frozen=True):
    """The fields in stored order; see `State` for their meaning."""

    version: Annotated[int, Meta(ge=1, le=INT_MAX)]
    updated_at: Time
    value: bytes | None
    """In the codec's encoding; None for a deleted cell."""


unpack_cell: Final = unpacking(CellRecord, "a cell")
"""Return the CellRecord encoded in the bytes. O(bytes).

Raises:
    MalformedValueError: the bytes are not a cell record.
"""
