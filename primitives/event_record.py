"""The stored form of an event, under its sequence."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from inmem.primitives.event_hash import HASH_BYTES
from inmem.primitives.record import Record, Time, unpacking

Hash: TypeAlias = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]


class EventRecord(Record, frozen=True):
    """The fields in stored order; see `Event` for their meaning."""

    event_type: str
    payload: bytes
    """In the codec's encoding."""
    timestamp: Time
    prev_hash: Hash
    hash: Hash


unpack_event: Final = unpacking(EventRecord, "an event")
"""Return the EventRecord encoded in the bytes. O(bytes).

Raises:
    MalformedValueError: the bytes are not an event record.
"""
