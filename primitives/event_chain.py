"""Verification of a stored chain of events, trusting none of its content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inmem.engine.codec import MalformedValueError
from inmem.engine.keys import event_key
from inmem.primitives.event_hash import FIRST_PREVIOUS_HASH, event_hash
from inmem.primitives.event_record import unpack_event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inmem.primitives.event_record import EventRecord


@dataclass(frozen=True, slots=True)
class ChainVerification:
    """Whether a run's events are the ones that were appended.

    Attributes:
        is_valid: whether every event follows from the previous one.
        length: number of stored events.
        first_invalid: sequence of the first event that does not follow, or None.
        error: what is wrong with that event, or None.
    """

    is_valid: bool
    length: int
    first_invalid: int | None = None
    error: str | None = None


def verify_records(run: str, records: Iterable[tuple[bytes, bytes]]) -> ChainVerification:
    """Verify the stored (key, record) pairs of a run's event table, given in key order.

    Any event with a changed field, and any event that was inserted, removed or moved, is detected and reported with its
    sequence. Only events missing at the end leave a valid, shorter chain. O(bytes), holding one event at a time.
    """
    sequence = 0
    timestamp = 0
    previous_hash = FIRST_PREVIOUS_HASH
    found = iter(records)
    for key, data in found:
        fault: str | None = None
        if key != event_key(sequence):
            fault = f"event {sequence} is missing"
        else:
            try:
                record = unpack_event(data)
            except MalformedValueError as error:
                fault = f"event {sequence} cannot be read: {error.reason}"
            else:
                fault = fault_of(run, sequence, record, timestamp, previous_hash)
                timestamp, previous_hash = record.timestamp, record.hash
        if fault is not None:
            return ChainVerification(False, sequence + 1 + sum(1 for _ in found), sequence, fault)
        sequence += 1
    return ChainVerification(True, sequence)


def fault_of(run: str, sequence: int, record: EventRecord, earliest: int, previous_hash: bytes) -> str | None:
    """Return what is wrong with the record of event `sequence`, or None.

    The previous event has the hash `previous_hash` and the timestamp `earliest`.
    """
    if record.prev_hash != previous_hash:
        return f"event {sequence} does not name the hash of the event before it"
    if event_hash(run, sequence, record.event_type, record.payload, record.timestamp, previous_hash) != record.hash:
        return f"event {sequence} does not have the hash of its content"
    if record.timestamp < earliest:
        return f"event {sequence} is earlier than the event before it"
    return None
