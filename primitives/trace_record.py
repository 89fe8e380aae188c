"""A trace as it is stored, under its id."""

from __future__ import annotations

from typing import Final

from inmem.primitives.index_key import Position
from inmem.primitives.record import Record, unpacking


class TraceRecord(Record, frozen=True):
    """The fields in the order in which the record has them; see `Trace` for their meaning."""

    position: Position
    parent_id: str | None
    trace_type: str
    tags: tuple[str, ...]
    metadata: bytes
    """In the codec's encoding, as are all of `fields`."""
    fields: tuple[bytes, ...]
    """Of the kind, in the order of its class."""


unpack_trace: Final = unpacking(TraceRecord, "a trace")
"""Return the TraceRecord that these bytes are; O(bytes).

Raises:
    MalformedValueError: they are none.
"""
