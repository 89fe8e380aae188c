"""Traces whose parent is lost: named, made roots, and never left out without a word."""

import pytest

from inmem import StorageError, Thought
from inmem.engine.keys import Tag
from inmem.primitives.indices import with_true_indices
from inmem.primitives.orphans import Orphan, orphans, whole_forest, with_orphans_as_roots
from inmem.primitives.run_contents import RunContents
from inmem.primitives.trace_record import unpack_trace
from tests.primitives.store import Store

ADVICE = ". `verify` names all of these; a salvage makes a database in which they are found"


def recorded(*traces: tuple[str, str | None]) -> Store:
    """A store with a run of these traces, given with their parents."""
    store = Store()
    for trace_id, parent_id in traces:
        with store.transaction() as txn:
            options = {"id": trace_id, "parent_id": parent_id, "tags": ["t"], "metadata": {"of": trace_id}}
            store.traces(txn=txn).record_with_options(Thought(trace_id), **options)
    return store


def lose(store: Store, trace_id: str) -> None:
    """Lose a trace as a salvage does: the record, and its index entries with it."""
    store.tamper("run", Tag.TRACE, trace_id.encode(), None)
    snapshot, _ = with_true_indices(store.snapshot)
    (store.shard.root,) = snapshot.roots


def shown(store: Store) -> list[tuple[int, str]]:
    return [(depth, trace.id) for tree in whole_forest(store.traces(), "run") for depth, trace in tree.walk()]


FOREST = (("a", None), ("p", "a"), ("c", "p"), ("b", "p"), ("below", "c"), ("z", None))


def test_a_store_writes_none():
    store = recorded(*FOREST)
    assert orphans(store.snapshot) == []
    assert with_orphans_as_roots(store.snapshot)[0].roots == store.snapshot.roots
    assert shown(store) == [(0, "a"), (1, "p"), (2, "c"), (3, "below"), (2, "b"), (0, "z")]


def test_those_below_a_lost_trace_become_roots_and_stay_all_else_that_they_were():
    store = recorded(*FOREST)
    before = {trace_id: store.traces().get(trace_id) for trace_id in ("c", "b", "below")}
    lose(store, "p")
    assert orphans(store.snapshot) == [Orphan("run", "b", "p"), Orphan("run", "c", "p")]

    mended, found = with_orphans_as_roots(store.snapshot)
    assert found == orphans(store.snapshot)
    mended, wrong = with_true_indices(mended)
    assert wrong == [("run", Tag.TRACE_INDEX)]
    mended.check()
    assert orphans(mended) == []

    versions = dict(store.snapshot.table("run", Tag.TRACE).range())
    (store.shard.root,) = mended.roots
    for key, (version, _, _) in mended.table("run", Tag.TRACE).range():
        assert version == versions[key][0]
    assert shown(store) == [(0, "a"), (0, "c"), (1, "below"), (0, "b"), (0, "z")]
    for trace_id, was in before.items():
        now = store.traces().get(trace_id)
        assert now.parent_id == ("c" if trace_id == "below" else None)
        for name in ("trace_type", "timestamp", "tags", "metadata", "kind"):
            assert getattr(now, name) == getattr(was, name)
    with store.transaction() as txn:
        store.traces(txn=txn).check()
        assert store.traces(txn=txn).record_with_options(Thought("again"), id="p", parent_id="c").parent_id == "c"


def test_a_circle_is_opened_at_one_place():
    # A run in which p was above c was deleted, and recorded again with c above p; the deletion is lost, and so is what
    # was recorded in between.
    store = recorded(("p", None), ("c", "p"), ("x", "c"))
    again = recorded(("c", None), ("p", "c"))
    _, data, _ = again.snapshot.table("run", Tag.TRACE).get(b"p")
    assert data is not None
    assert unpack_trace(data).parent_id == "c"
    store.tamper("run", Tag.TRACE, b"p", data)
    assert len(orphans(store.snapshot)) == 1

    mended, _ = with_true_indices(with_orphans_as_roots(store.snapshot)[0])
    assert orphans(mended) == []
    (store.shard.root,) = mended.roots
    assert {trace_id for _, trace_id in shown(store)} == {"p", "c", "x"}


@pytest.mark.parametrize("walk", [shown, lambda store: list(RunContents(store.begin(), "run").items())])
def test_a_walk_of_all_traces_ends_with_an_error_if_some_are_below_no_root(walk):
    store = recorded(*FOREST)
    lose(store, "p")
    with pytest.raises(StorageError) as caught:
        walk(store)
    told = "run 'run': 3 of its traces are below no root: trace 'c' was recorded below 'p', which is lost"
    assert str(caught.value) == told + ADVICE


@pytest.mark.parametrize("walk", [shown, lambda store: list(RunContents(store.begin(), "run").items())])
def test_neither_does_it_leave_out_what_an_index_does_not_lead_to(walk):
    store = recorded(("a", None))
    index = store.snapshot.table("run", Tag.TRACE_INDEX)
    assert index is not None
    for key, _ in list(index.range()):
        store.tamper("run", Tag.TRACE_INDEX, key, None)
    with pytest.raises(StorageError, match="1 of its traces are below no root: the index does not lead to them"):
        walk(store)


def test_a_record_that_cannot_be_read_leads_to_nothing_below_it():
    store = recorded(("p", None), ("c", "p"))
    store.tamper("run", Tag.TRACE, b"p", b"\xc1")
    store.tamper("run", Tag.TRACE, b"\xff", b"\xc1")
    assert orphans(store.snapshot) == [Orphan("run", "c", "p")]
    mended, _ = with_orphans_as_roots(store.snapshot)
    assert orphans(mended) == []
    assert mended.table("run", Tag.TRACE).get(b"p") == store.snapshot.table("run", Tag.TRACE).get(b"p")
