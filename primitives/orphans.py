"""Traces that no walk from the roots comes to, because the trace that they were recorded below is lost.

A store writes none: a parent must exist, and traces are never removed. A salvage that takes what lies behind lost
commits can find some, and makes roots of them. Everywhere else they are damage: verification names them, and whoever
walks all traces of a run to show or to export them is told, for they would be missing and nobody would know.
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
    from inmem.primitives.trace_tree import TraceTree
    from inmem.primitives.traces import TraceOperations


class Orphan(NamedTuple):
    """A trace whose parent is lost.

    Attributes:
        run_id: whose it is.
        trace_id: its id.
        parent_id: the trace that it was recorded below.
    """

    run_id: str
    trace_id: str
    parent_id: str


def orphans(snapshot: Snapshot) -> list[Orphan]:
    """Return every trace whose parent is lost, by run. O(bytes of all traces), with the ids of one run in memory."""
    return [
        Orphan(run, trace_id, parent_id)
        for run, tag, table in snapshot.tables()
        if tag == Tag.TRACE
        for trace_id, parent_id in _among(_parents(table))
    ]


def with_orphans_as_roots(snapshot: Snapshot) -> tuple[Snapshot, list[Orphan]]:
    """Return the snapshot, of one shard, with every orphan as a root, and which they were. Indices stay as they were.

    Complexity: O(bytes of all traces), and O(n log n) per run with orphans.
    """
    found = orphans(snapshot)
    if not found:
        return snapshot, found
    (root,) = snapshot.roots
    of_runs: dict[str, set[bytes]] = {}
    for run, trace_id, _ in found:
        of_runs.setdefault(run, set()).add(trace_id.encode())
    for run, keys in of_runs.items():
        table = root[run, Tag.TRACE]
        entries: dict[bytes, StoredEntry] = dict(table.stored_range())
        for key, (version, data, _) in table.range():
            if key in keys and data is not None:
                entries[key] = stored_entry(version, pack(replace(unpack_trace(data), parent_id=None)), 0)
        root = root.set((run, Tag.TRACE), Table.build(entries))
    return Snapshot(snapshot.version, (root,)), found


def whole_forest(traces: TraceOperations, run: str) -> Iterator[TraceTree]:
    """Yield the tree of every root of the run. O(log n) per trace, with one tree in memory at a time.

    Raises:
        StorageError: at the end, if a trace was in none of them.
    """
    seen = 0
    for root in traces.roots():
        tree = traces.get_tree(root.id)
        seen += sum(1 for _ in tree.walk())
        yield tree
    require_all(traces, run, seen)


def require_all(traces: TraceOperations, run: str, seen: int) -> None:
    """Return only if so many traces are all that the run has. O(keys written in this transaction).

    Raises:
        StorageError: it has others; the message names one whose parent is lost, and tells what to do.
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
    """Return the parent of every trace that can be read, by its id. One that cannot leads to none below it either."""
    parents: dict[str, str | None] = {}
    for key, (_, data, _) in table.range():
        if data is None:
            continue
        try:
            parents[key.decode()] = unpack_trace(data).parent_id
        except (MalformedValueError, UnicodeDecodeError):
            # Nobody finds it by an index; verification names it as a record that cannot be read.
            continue
    return parents


def _among(parents: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Yield those that have to become roots for every trace to be below one, with their parents. O(traces)."""
    rooted: set[str] = set()
    for trace_id in parents:
        path: dict[str, None] = {}
        at = trace_id
        while at not in rooted:
            path[at] = None
            parent = parents[at]
            if parent is None:
                break
            # Round in a circle go traces of a run that was deleted in a lost commit and recorded again the other way.
            if parent not in parents or parent in path:
                yield at, parent
                break
            at = parent
        rooted.update(path)
