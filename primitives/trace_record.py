"""The stored form of a trace, under its id."""

from __future__ import annotations

from typing import Final

from inmem.primitives.index_key import Position
from inmem.primitives.record import Record, unpacking


class TraceRecord(Record, frozen=True):
    """The fields in stored order; see `Trace` for their meaning."""

    position: Position
    parent_id: str | None
    trace_type: str
    tags: tuple[str, ...]
    metadata: bytes
    """In the codec's encoding, like each of `fields`."""
    fields: tuple[bytes, ...]
    """The kind's fields, in the order of its class."""


unpack_trace: Final = unpacking(TraceRecord, "a trace")
"""Return the TraceRecord encoded in the bytes. O(bytes).

Raises:
    MalformedValueError: the bytes are not a trace record.
"""
