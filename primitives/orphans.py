"""Orphans: traces whose parent is lost, so that they cannot be reached from any root.

The store never writes an orphan: a parent must exist, and traces are never removed. A salvage that keeps commits after
lost ones can find orphans, and makes roots of them. Anywhere else they are damage. Verification reports them, and code
that walks all traces of a run, to show or export them, raises an error rather than silently leave them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from inmem.engine.codec import MalformedValueError
from inmem.engine.errors import StorageError
from inmem.engine.keys import Tag
from inmem.engine.packing import pack
from inmem.engine.tables.entry import stored_entry
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table
from inmem.primitives.trace_record import unpack_trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inmem.engine.tables.entry import StoredEntry
    from inmem.engine.tables.snapshot import TableId
    from inmem.primitives.trace_tree import TraceTree
    from inmem.primitives.traces import TraceOperations


class Orphan(NamedTuple):
    """A trace whose parent is lost.

    Attributes:
        run_id: the run that it belongs to.
        trace_id: its id.
        parent_id: the id of its lost parent.
    """

    run_id: str
    trace_id: str
    parent_id: str


def orphans(snapshot: Snapshot) -> list[Orphan]:
    """Return all orphans, grouped by run. O(bytes of all traces), with the ids of one run in memory at a time."""
    return [
        Orphan(run, trace_id, parent_id)
        for run, tag, table in snapshot.tables()
        if tag == Tag.TRACE
        for trace_id, parent_id in _among(_parents(table))
    ]


def with_orphans_as_roots(snapshot: Snapshot) -> tuple[Snapshot, list[Orphan]]:
    """Return the snapshot, of one shard, with every orphan made a root, and the orphans. Does not update indices.

    Complexity: O(bytes of all traces), and O(n log n) per run with orphans.
    """
    found = orphans(snapshot)
    if not found:
        return snapshot, found
    (root,) = snapshot.roots
    tables = root.as_dict()
    mended: dict[TableId, Table] = {}
    of_runs: dict[str, set[bytes]] = {}
    for run, trace_id, _ in found:
        of_runs.setdefault(run, set()).add(trace_id.encode())
    for run, keys in of_runs.items():
        table = tables[run, Tag.TRACE]
        entries: dict[bytes, StoredEntry] = dict(table.stored_range())
        for key, (version, data, _) in table.range():
            if key in keys and data is not None:
                entries[key] = stored_entry(version, pack(replace(unpack_trace(data), parent_id=None)), 0)
        mended[run, Tag.TRACE] = Table.build(entries)
    return Snapshot(
        snapshot.version, (root.changed(mended, {table_id: tables[table_id] for table_id in mended}),)
    ), found


def whole_forest(traces: TraceOperations, run: str) -> Iterator[TraceTree]:
    """Yield the tree of every root of the run. O(log n) per trace, with one tree in memory at a time.

    Raises:
        StorageError: after the last tree, if some trace was in none of them.
    """
    seen = 0
    for root in traces.roots():
        tree = traces.get_tree(root.id)
        seen += sum(1 for _ in tree.walk())
        yield tree
    require_all(traces, run, seen)


def require_all(traces: TraceOperations, run: str, seen: int) -> None:
    """Raise StorageError unless the run has exactly `seen` traces. O(keys written in this transaction).

    Raises:
        StorageError: the run has more; the message names one whose parent is lost, and says what to do.
    """
    missed = traces.count() - seen
    if not missed:
        return
    found = [trace for trace_id in traces.list() if (trace := traces.get(trace_id)) is not None]
    lost = next(_among({trace.id: trace.parent_id for trace in found}), None)
    if lost is None:
        why = "the index does not lead to them"
    else:
        trace_id, parent_id = lost
        why = f"trace {trace_id!r} was recorded below {parent_id!r}, which is lost"
    raise StorageError(
        f"run {run!r}: {missed} of its traces are below no root: {why}. "
        "`verify` names all of these; a salvage makes a database in which they are found"
    )


def _parents(table: Table) -> dict[str, str | None]:
    """Return the parent of every readable trace, by id. An unreadable trace does not lead to its children either."""
    parents: dict[str, str | None] = {}
    for key, (_, data, _) in table.range():
        if data is None:
            continue
        try:
            parents[key.decode()] = unpack_trace(data).parent_id
        except (MalformedValueError, UnicodeDecodeError):
            # No index leads to it, and verification reports it as an unreadable record.
            continue
    return parents


def _among(parents: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Yield (id, parent id) of the traces that must become roots so that every trace is below a root. O(traces)."""
    rooted: set[str] = set()
    for trace_id in parents:
        path: dict[str, None] = {}
        at = trace_id
        while at not in rooted:
            path[at] = None
            parent = parents[at]
            if parent is None:
                break
            # Traces can form a cycle if a lost commit deleted the run and they were recorded again the other way round.
            if parent not in parents or parent in path:
                yield at, parent
                break
            at = parent
        rooted.update(path)
