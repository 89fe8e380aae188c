"""Records that cannot be decoded although the checksums of their files are correct.

This store does not write such records, but other software may have written the files. Values are decoded only when they
are read, so verification looks for unreadable records beforehand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from inmem.engine.codec import MalformedValueError, decode_value
from inmem.engine.keys import Tag
from inmem.primitives.cells import state_of
from inmem.primitives.event_record import unpack_event
from inmem.primitives.run_record import unpack_run
from inmem.primitives.traces import trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inmem.engine.tables.snapshot import Snapshot


class UnreadableRecord(NamedTuple):
    """A record that cannot be read.

    Attributes:
        run_id: the run that it belongs to.
        tag: the tag of the run's table that holds it.
        key: its key in that table.
        reason: what is wrong with it.
    """

    run_id: str
    tag: int
    key: bytes
    reason: str


def unreadable_records(snapshot: Snapshot) -> Iterator[UnreadableRecord]:
    """Yield every record of the five primitives that cannot be read without an error. O(bytes), one at a time."""
    for run, tag, table in snapshot.tables():
        read = _READERS.get(tag)
        if read is None:
            continue
        for key, (_, record, _) in table.range():
            if record is None:
                continue
            try:
                read(key, record)
            except (MalformedValueError, UnicodeDecodeError) as error:
                reason = error.reason if isinstance(error, MalformedValueError) else f"a key is not UTF-8: {error}"
                yield UnreadableRecord(run, tag, key, reason)


def _read_value(key: bytes, record: bytes) -> None:
    key.decode()
    decode_value(record)


def _read_event(_key: bytes, record: bytes) -> None:
    decode_value(unpack_event(record).payload)


def _read_cell(key: bytes, record: bytes) -> None:
    key.decode()
    state_of(record)


def _read_trace(key: bytes, record: bytes) -> None:
    trace_of(key.decode(), record)


def _read_run(_key: bytes, record: bytes) -> None:
    decode_value(unpack_run(record).metadata)


_READERS: Final[dict[int, Callable[[bytes, bytes], None]]] = {
    Tag.KV: _read_value,
    Tag.EVENT: _read_event,
    Tag.STATE: _read_cell,
    Tag.TRACE: _read_trace,
    Tag.RUN: _read_run,
}
