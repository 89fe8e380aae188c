from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("starlette", reason="the explorer is an extra")

import inmem
from inmem import Custom, TraceNotFoundError
from inmem.ui.trace_walk import Place, walk_page


def forest(parents):
    """A store whose traces are named by number; each has the parent given, an earlier one, or none."""
    db = inmem.open(":memory:")
    with db.begin("run") as txn:
        for at, parent in enumerate(parents):
            parent_id = None if parent is None else str(parent % at) if at else None
            txn.traces.record_with_options(Custom("c"), id=str(at), parent_id=parent_id)
    return db


def drawn(txn):
    return [(depth, trace.id) for root in txn.traces.roots() for depth, trace in txn.traces.get_tree(root.id).walk()]


@given(parents=st.lists(st.none() | st.integers(0, 100), max_size=40), limit=st.integers(1, 12))
def test_pages_put_together_are_the_tree(parents, limit):
    with forest(parents) as db, db.begin("run") as txn:
        expected = drawn(txn)
        found, place = [], None
        while True:
            rows, place = walk_page(txn.traces, place, limit, attrgetter("parent_id"))
            assert len(rows) <= limit
            found += rows
            if place is None:
                break
        assert [(row.depth, row.trace_id) for row in found] == expected
        parents_of_some = {row.kept for row in found}
        for row in found:
            assert row.has_children in (None, row.trace_id in parents_of_some)


def test_a_full_page_with_nothing_behind_it_is_the_last():
    with forest([None, 0, 0]) as db, db.begin("run") as txn:
        rows, place = walk_page(txn.traces, None, 3, attrgetter("id"))
        assert [row.has_children for row in rows] == [True, False, False]
        assert place is None


def test_going_up_a_deep_chain_takes_several_short_pages():
    depth = 200
    with forest([None, *range(depth), None]) as db, db.begin("run") as txn:
        leaf = Place(str(depth), depth)
        looks = []
        traces = CountingLooks(txn.traces, looks)
        rows, place = walk_page(traces, leaf, 10, attrgetter("id"))
        assert (rows, place.is_past) == ([], True)
        assert len(looks) <= 10 * 4 * 2
        pages = 1
        while place is not None and not rows:
            rows, place = walk_page(traces, place, 10, attrgetter("id"))
            pages += 1
        assert [(row.depth, row.trace_id) for row in rows] == [(0, str(depth + 1))]
        assert pages > 3


def test_a_place_that_is_gone_is_named():
    with forest([None]) as db, db.begin("run") as txn, pytest.raises(TraceNotFoundError):
        walk_page(txn.traces, Place("gone", 0, is_past=True), 10, attrgetter("id"))


class CountingLooks:
    """The traces of a transaction, noting every question that they are asked."""

    def __init__(self, traces, looks):
        self._traces = traces
        self._looks = looks

    def __getattr__(self, name):
        self._looks.append(name)
        return getattr(self._traces, name)
