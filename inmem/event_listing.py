"""The events of a run from one of them on: of one type, or all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem import Event, Transaction

EVENTS_HELD: Final = 100
"""Events read at a time: enough to make each lookup cheap, few enough to hold in memory whatever their payloads."""


def events_from(
    txn: Transaction, event_type: str | None, start: int, *, batch_size: int = EVENTS_HELD
) -> Iterator[Event]:
    """Yield the events of the transaction's run from `start` on, each batch read only when it is requested.

    Args:
        txn: the transaction.
        event_type: the exact type; None means all events.
        start: the sequence number of the first event.
        batch_size: the number of events read, and held, at a time.

    Complexity: O(log n) per batch plus O(1) per event; events of other types cost nothing.
    """
    if event_type is None:
        yield from txn.events.iter(start, batch_size=batch_size)
        return
    after = start - 1 if start else None
    while batch := txn.events.read_by_type(event_type, batch_size, after):
        yield from batch
        after = batch[-1].sequence
