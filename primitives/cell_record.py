"""A cell as it is stored, under its name."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from inmem.engine.limits import INT_MAX
from inmem.primitives.record import Record, Time, unpacking


class CellRecord(Record, frozen=True):
    """The fields in the order in which the record has them; see `State` for their meaning."""

    version: Annotated[int, Meta(ge=1, le=INT_MAX)]
    updated_at: Time
    value: bytes | None
    """In the codec's encoding; None for a deleted cell."""


unpack_cell: Final = unpacking(CellRecord, "a cell")
"""Return the CellRecord that these bytes are; O(bytes).

Raises:
    MalformedValueError: they are none.
"""
