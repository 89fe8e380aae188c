import contextlib
import copy
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.primitives.trace_kinds import Thought
from inmem.primitives.trace_tree import TraceTree
from tests.primitives.store import Store

DEPTH = 10_000


@pytest.fixture(scope="module")
def chain():
    assert sys.getrecursionlimit() < DEPTH
    store = Store()
    with store.transaction() as txn:
        traces = store.traces(txn=txn)
        parent = None
        for level in range(DEPTH):
            parent = traces.record_with_options(Thought("x"), id=str(level), parent_id=parent and parent.id)
    return store


def test_a_tree_of_any_depth_is_built_walked_compared_and_shown(chain):
    tree = chain.traces().get_tree("0")
    assert [(depth, trace.id) for depth, trace in tree.walk()] == [(level, str(level)) for level in range(DEPTH)]
    assert tree == chain.traces().get_tree("0")
    assert tree != chain.traces().get_tree("1")
    assert repr(tree) == f"TraceTree(root='0', 1 children, {DEPTH} traces)"


WAYS = [copy.copy, copy.deepcopy, *(lambda tree, p=p: pickle.loads(pickle.dumps(tree, p)) for p in range(6))]


@pytest.mark.unmeasured
@pytest.mark.parametrize("way", WAYS, ids=["copy", "deepcopy", *(f"pickle {p}" for p in range(6))])
def test_a_tree_of_any_depth_is_copied_and_pickled(chain, way):
    tree = chain.traces().get_tree("0")
    twin = None
    # Not passed on: pytest compares what it finds in such a traceback, which takes minutes.
    with contextlib.suppress(RecursionError):
        twin = way(tree)
    assert twin == tree
    assert type(twin) is TraceTree
    assert (twin.root is tree.root) == (way is copy.copy)
    with pytest.raises(TypeError, match="unhashable"):
        hash(twin)


@given(st.lists(st.integers(0, 20), max_size=20))
def test_a_copy_has_the_shape_of_the_tree(parents):
    store = Store()
    with store.transaction() as txn:
        traces = store.traces(txn=txn)
        for number, parent in enumerate([None, *parents]):
            above = None if parent is None else str(parent % number)
            traces.record_with_options(Thought("x"), id=str(number), parent_id=above, metadata={"n": [number]})
    tree = store.traces().get_tree("0")
    twin = copy.deepcopy(tree)
    assert twin == tree
    assert [len(each.children) for each in trees_of(twin)] == [len(each.children) for each in trees_of(tree)]
    twin.root.metadata["n"].append(0)
    assert twin != tree


def trees_of(tree):
    found = [tree]
    for each in found:
        found.extend(each.children)
    return found


def test_a_deep_tree_can_be_visited_by_its_attributes(chain):
    tree, depth = chain.traces().get_tree("0"), 1
    while tree.children:
        (tree,) = tree.children
        depth += 1
    assert depth == DEPTH


def test_children_are_in_the_order_of_recording_and_belong_to_their_parent():
    store = Store()
    with store.transaction() as txn:
        traces = store.traces(txn=txn)
        for trace_id, parent in [
            ("r", None),
            ("b", "r"),
            ("a", "r"),
            ("b2", "b"),
            ("a1", "a"),
            ("b1", "b"),
            ("s", None),
        ]:
            traces.record_with_options(Thought("x"), id=trace_id, parent_id=parent)
    tree = store.traces().get_tree("r")
    assert [(depth, trace.id) for depth, trace in tree.walk()] == [
        (0, "r"),
        (1, "b"),
        (2, "b2"),
        (2, "b1"),
        (1, "a"),
        (2, "a1"),
    ]
    assert [child.root.id for child in tree.children] == ["b", "a"]


def test_trees_with_the_same_traces_in_another_shape_differ():
    store = Store()
    traces = store.traces()
    a, b, c = (traces.record(Thought(name)) for name in "abc")
    nested = TraceTree(a, (TraceTree(b, (TraceTree(c, ()),)),))
    flat = TraceTree(a, (TraceTree(b, ()), TraceTree(c, ())))
    assert nested != flat
    assert nested != "tree"
    with pytest.raises(TypeError):
        hash(nested)
