"""Verifying a chain of events as it is stored, without trusting any of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from inmem.engine.keys import event_key
from inmem.engine.limits import INT_MAX
from inmem.primitives.event_hash import FIRST_PREVIOUS_HASH, HASH_BYTES, event_hash
from inmem.primitives.record import unpack_record

if TYPE_CHECKING:
    from collections.abc import Iterable

EVENT_FIELDS: Final = 5
"""Type, payload, timestamp, hash of the event before, own hash."""
_FORM: Final[list[type]] = [str, bytes, int, bytes, bytes]


@dataclass(frozen=True, slots=True)
class ChainVerification:
    """Whether a run's events are the ones that were appended.

    Attributes:
        is_valid: every event follows from the one before.
        length: how many events are stored.
        first_invalid: sequence of the first event that does not, or None.
        error: what is wrong with it, or None.
    """

    is_valid: bool
    length: int
    first_invalid: int | None = None
    error: str | None = None


def verify_records(run: str, records: Iterable[tuple[bytes, bytes]]) -> ChainVerification:
    """Judge the stored (key, record) pairs of a run's event table, given in key order.

    Whatever changes a single field, swaps, removes or inserts events is found and reported with its sequence; only
    events missing at the end leave a valid, shorter chain. O(bytes), holding one event at a time.
    """
    sequence = 0
    timestamp = 0
    previous_hash = FIRST_PREVIOUS_HASH
    found = iter(records)
    for key, data in found:
        if key != event_key(sequence):
            error: str | None = f"event {sequence} is missing"
        else:
            error = fault_of(run, sequence, data, timestamp, previous_hash)
        if error is not None:
            return ChainVerification(False, sequence + 1 + sum(1 for _ in found), sequence, error)
        _, _, timestamp, _, previous_hash = unpack_record(data, EVENT_FIELDS)
        sequence += 1
    return ChainVerification(True, sequence)


def fault_of(run: str, sequence: int, data: bytes, earliest: int, previous_hash: bytes) -> str | None:
    """Return what is wrong with the record of event `sequence`, which follows `previous_hash`, or None."""
    try:
        record = unpack_record(data, EVENT_FIELDS)
    except ValueError as error:
        return f"event {sequence} cannot be read: {str(error) or type(error).__name__}"
    if not has_form(record):
        return f"event {sequence} does not have the form of an event"
    event_type, payload, timestamp, stated_previous, stated_hash = record
    if stated_previous != previous_hash:
        return f"event {sequence} does not name the hash of the event before it"
    if event_hash(run, sequence, event_type, payload, timestamp, stated_previous) != stated_hash:
        return f"event {sequence} does not have the hash of its content"
    if timestamp < earliest:
        return f"event {sequence} is earlier than the event before it"
    return None


def has_form(record: Any) -> TypeGuard[tuple[str, bytes, int, bytes, bytes]]:
    """Tell whether an unpacked record has the types of an event's fields."""
    fields: tuple[Any, ...] = record
    return (
        type(record) is tuple
        and [*map(type, fields)] == _FORM
        and 0 <= fields[2] <= INT_MAX
        and len(fields[3]) == HASH_BYTES
    )
