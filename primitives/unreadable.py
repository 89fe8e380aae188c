"""Records that nobody can read, though the checksums of the files that hold them are in order.

This store does not write such records. Somebody else may have written the files, and a value is not looked into
before it is asked for; whoever verifies a store wants to know before that.
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
        run_id: whose it is.
        tag: which table of the run holds it.
        key: under which it is there.
        reason: what is wrong with it.
    """

    run_id: str
    tag: int
    key: bytes
    reason: str


def unreadable_records(snapshot: Snapshot) -> Iterator[UnreadableRecord]:
    """Yield every record of the five primitives whose reader would get an error. O(bytes), one record at a time."""
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
