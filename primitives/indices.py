"""The index tables that the records of a snapshot imply.

Index entries are written in the transaction of their record, so the two always agree. Verification does not take this
on trust and checks it. Salvage may have lost some commits, and rebuilds the indices from the records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from inmem.engine.codec import MalformedValueError
from inmem.engine.keys import Tag
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table
from inmem.primitives import events, trace_index
from inmem.primitives.event_record import unpack_event
from inmem.primitives.index_key import PRESENT
from inmem.primitives.run_index import NAMESPACE, index_keys
from inmem.primitives.run_record import unpack_run
from inmem.primitives.run_status import STATUS_TAGS
from inmem.primitives.trace_record import unpack_trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.engine.tables.entry import Entry
    from inmem.engine.tables.snapshot import TableId

INDEX_TAGS: Final = frozenset({Tag.EVENT_INDEX, Tag.TRACE_INDEX, Tag.RUN_INDEX, *STATUS_TAGS.values()})
"""Tables that hold nothing but index entries."""

_INDEXED: Final[dict[int, Tag]] = {Tag.EVENT: Tag.EVENT_INDEX, Tag.TRACE: Tag.TRACE_INDEX}


def true_indices(snapshot: Snapshot) -> Iterator[tuple[TableId, dict[bytes, Entry]]]:
    """Yield every index table that must not be empty, with exactly the entries that it must have.

    Complexity: O(n) time; memory for the index of one run at a time, and for the RunIndex's entries until the end.
    """
    of_runs: dict[TableId, dict[bytes, Entry]] = {}
    for run, tag, table in snapshot.tables():
        records = ((key, entry[0], entry[1]) for key, entry in table.range() if entry[1] is not None)
        if tag in _INDEXED:
            entries: dict[bytes, Entry] = {}
            for key, version, record in records:
                entries.update(dict.fromkeys(_keys_of(tag, key, record), (version, PRESENT, 0)))
            if entries:
                yield (run, _INDEXED[tag]), entries
        elif tag == Tag.RUN:
            for _, version, record in records:
                for index_tag, entry in _run_keys(run, record):
                    of_runs.setdefault((NAMESPACE, index_tag), {})[entry] = (version, PRESENT, 0)
    yield from of_runs.items()


def wrong_indices(snapshot: Snapshot) -> list[TableId]:
    """Return the index tables whose entries differ from what the records imply. Costs as much as `true_indices`."""
    unasked = {(run, tag) for run, tag, table in snapshot.tables() if tag in INDEX_TAGS and table.live_count}
    wrong: list[TableId] = []
    for table_id, entries in true_indices(snapshot):
        unasked.discard(table_id)
        table = snapshot.table(*table_id)
        found = [] if table is None else [key for key, entry in table.range() if entry[1] is not None]
        if found != sorted(entries):
            wrong.append(table_id)
    return sorted((*wrong, *unasked))


def with_true_indices(snapshot: Snapshot) -> tuple[Snapshot, list[TableId]]:
    """Return the snapshot, of one shard, with the wrong indices rebuilt from the records, and which those were."""
    wrong = wrong_indices(snapshot)
    if not wrong:
        return snapshot, wrong
    (root,) = snapshot.roots
    rebuilt = {table_id: Table.build(entries) for table_id, entries in true_indices(snapshot) if table_id in wrong}
    root = root.changed(rebuilt, {table_id: root.stored(table_id) for table_id in wrong})
    return Snapshot(snapshot.version, (root,)), wrong


def _keys_of(tag: int, key: bytes, record: bytes) -> list[bytes]:
    """Return the index entries that a record must have; none if it is malformed."""
    try:
        if tag == Tag.EVENT:
            return [events.index_key(unpack_event(record).event_type, key)]
        trace = unpack_trace(record)
        return trace_index.entries_of(trace.position, key, trace.parent_id, trace.trace_type, trace.tags)
    except MalformedValueError:
        # Reading the record reports this error. It yields no name to index.
        return []


def _run_keys(run: str, record: bytes) -> list[tuple[int, bytes]]:
    """Return the index entries that a run must have; none if its record is malformed."""
    try:
        return index_keys(run, unpack_run(record))
    except MalformedValueError:
        return []
