"""The contents of a run in its five primitives as plain values, and checks of all reads against them.

`expect` does every read and compares the result with a search through the plain values. `tables_of` looks below the
primitives: it returns the entries of a run, with their tables and versions.
"""

from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

from inmem import ChainVerification, Database, RunStatus
from inmem.engine.keys import Tag
from inmem.primitives.index_key import POSITION_BYTES

PRIMITIVES = ("kv", "events", "cells", "traces", "runs")

PRIMITIVE_OF = {
    "KV": "kv",
    "EVENT": "events",
    "EVENT_INDEX": "events",
    "STATE": "cells",
    "TRACE": "traces",
    "TRACE_INDEX": "traces",
    "RUN": "runs",
    "RUN_INDEX": "runs",
    **{f"RUN_{status.upper()}": "runs" for status in RunStatus},
}
"""The primitive that owns the tables of each tag."""


@dataclass
class Step:
    """A trace."""

    kind: Any
    parent: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class Registered:
    """The entry of a run in the RunIndex."""

    status: RunStatus = RunStatus.ACTIVE
    parent: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass
class Content:
    """A run: values by key, (type, payload) of events, (value, version) of cells, traces by id, the registration."""

    kv: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, Any]] = field(default_factory=list)
    cells: dict[str, tuple[Any, int]] = field(default_factory=dict)
    traces: dict[str, Step] = field(default_factory=dict)
    runs: Registered | None = None


class _Bound:
    """A proxy bound to a run, with the same methods as a transaction's accessor."""

    def __init__(self, proxy: Any, run: str) -> None:
        self._proxy = proxy
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(self._proxy, name), self._run)


def proxies(db: Database, run: str) -> SimpleNamespace:
    """Return the five proxies with the interface of a transaction's accessors."""
    bound = {name: _Bound(getattr(db, name), run) for name in PRIMITIVES if name != "runs"}
    return SimpleNamespace(**bound, runs=db.runs)


def expect_everywhere(db: Database, run: str, content: Content) -> None:
    """Assert that proxies and transactions show exactly this content, and that all indices agree with it."""
    expect(proxies(db, run), run, content)
    with db.begin(run) as txn:
        expect(txn, run, content)
        txn.events.check()
        txn.traces.check()


def expect(access: Any, run: str, content: Content) -> None:
    """Assert that every read of the run returns what the plain content says."""
    _expect_kv(access.kv, content.kv)
    _expect_events(access.events, content.events)
    _expect_cells(access.cells, content.cells)
    _expect_traces(access.traces, content.traces)
    _expect_registration(access.runs, run, content.runs)


def _by_bytes(names: Any) -> list[str]:
    return sorted(names, key=str.encode)


def _expect_kv(kv: Any, content: dict[str, Any]) -> None:
    keys = _by_bytes(content)
    assert kv.list() == keys
    assert kv.list_with_values() == [(key, content[key]) for key in keys]
    assert kv.get_many([*keys, "not there"]) == content
    assert [kv.get(key) for key in keys] == [content[key] for key in keys]
    assert [kv.exists(key) for key in keys] == [True] * len(keys)
    for prefix in {key[:1] for key in keys}:
        assert kv.list(prefix) == [key for key in keys if key.startswith(prefix)]


def _expect_events(events: Any, content: list[tuple[str, Any]]) -> None:
    found = list(events.iter())
    assert [(event.event_type, event.payload) for event in found] == content
    assert [event.sequence for event in found] == list(range(len(content)))
    assert [event.prev_hash for event in found] == [bytes(32), *[event.hash for event in found]][: len(found)]
    assert events.read_range(0, len(content) + 1) == found
    assert events.tail(2) == found[-2:]
    assert events.len() == len(content)
    assert events.head() == (found[-1] if found else None)
    assert events.read(len(content)) is None
    assert events.verify_chain() == ChainVerification(True, len(content))
    for event_type in {event.event_type for event in found} | {"never happened"}:
        assert events.read_by_type(event_type) == [event for event in found if event.event_type == event_type]


def _expect_cells(cells: Any, content: dict[str, tuple[Any, int]]) -> None:
    names = _by_bytes(content)
    assert cells.list() == names
    states = {name: cells.read(name) for name in names}
    assert {name: (state.value, state.version) for name, state in states.items()} == content
    assert [cells.exists(name) for name in names] == [True] * len(names)
    assert cells.read("not there") is None


def _expect_traces(traces: Any, content: dict[str, Step]) -> None:
    assert traces.list() == list(content)
    assert traces.count() == len(content)
    found = [traces.get(trace_id) for trace_id in content]
    assert {trace.id: Step(trace.kind, trace.parent_id, trace.tags, trace.metadata) for trace in found} == content
    assert traces.roots() == [trace for trace in found if trace.parent_id is None]
    assert traces.query_by_time(0, 2**62) == found
    for trace_type in {trace.trace_type for trace in found} | {"Query"}:
        assert traces.query_by_type(trace_type) == [trace for trace in found if trace.trace_type == trace_type]
    for tag in {tag for trace in found for tag in trace.tags} | {"never used"}:
        assert traces.query_by_tag(tag) == [trace for trace in found if tag in trace.tags]
    for parent in found:
        children = [trace for trace in found if trace.parent_id == parent.id]
        assert traces.get_children(parent.id) == children
        assert [tree.root for tree in traces.get_tree(parent.id).children] == children


def _expect_registration(runs: Any, run: str, content: Registered | None) -> None:
    known = runs.get_run(run)
    if content is None:
        assert known is None
        assert run not in runs.list_runs(include_archived=True)
        return
    assert Registered(known.status, known.parent_run, known.tags, known.metadata, known.error) == content
    archived = known.status is RunStatus.ARCHIVED
    assert (run in runs.list_runs()) is not archived
    for status in RunStatus:
        assert (known in runs.query_runs(status=status)) is (status is content.status)
    for tag in content.tags:
        assert known in runs.query_runs(tags=[tag], include_archived=True)
    if content.parent is not None:
        assert known in runs.get_child_runs(content.parent, include_archived=True)


def tables_of(db: Database, run: str) -> dict[str, dict[bytes, Any]]:
    """Return tag name → key → entry for all entries of a run, including its index entries outside the run.

    Tables without entries are omitted.
    """
    found: dict[str, dict[bytes, Any]] = {}
    for owner, tag, table in db._client.snapshot().tables():
        name = Tag(tag).name
        if owner == run:
            entries = dict(table.range())
        elif owner == "":
            entries = {key: entry for key, entry in table.range() if _run_of_index_key(name, key) == run}
        else:
            continue
        if entries:
            assert name not in found
            found[name] = entries
    return found


def _run_of_index_key(name: str, key: bytes) -> str:
    """Return the run to which an index entry of the RunIndex refers."""
    if name == "RUN_INDEX":
        # Before the position are a family byte, a name in which no 00 is followed by 00, and 00 00.
        key = key.partition(b"\x00\x00")[2]
    return key[POSITION_BYTES:].decode()


def counts_of(tables: dict[str, dict[bytes, Any]]) -> dict[str, tuple[int, int]]:
    """Return tag name → (live entries, tombstones)."""
    counts: dict[str, tuple[int, int]] = {}
    for name, entries in tables.items():
        dead = sum(value is None for _, value, _ in entries.values())
        counts[name] = (len(entries) - dead, dead)
    return counts


def everything(db: Database) -> dict[tuple[str, int], dict[bytes, Any]]:
    """Return every entry of every non-empty table."""
    tables = {(run, tag): dict(table.range()) for run, tag, table in db._client.snapshot().tables()}
    return {table_id: entries for table_id, entries in tables.items() if entries}
