"""The judge of histories, on histories that are right and on one of every kind that is wrong."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.simulation import BrokenPromise
from tests.simulation.cycles import Edge, Graph, shortest_cycle
from tests.simulation.histories import Append, Ending, History, Read


def history(*transactions, concurrent=True):
    """Each transaction is a list of operations, committed unless an Ending stands at its end."""
    clock = itertools.count(0, 0 if concurrent else 1)
    made = History(lambda: next(clock))
    for parts in transactions:
        ending = next((part for part in parts if isinstance(part, Ending)), Ending.COMMITTED)
        observed = made.begin("client")
        observed.operations += [part for part in parts if not isinstance(part, Ending)]
        if ending is not Ending.UNKNOWN:
            made.end(observed, ending)
    return made


def append(key, element):
    return Append(key, element)


def read(key, *elements):
    return Read(key, elements)


GOOD = {
    "nothing": ([], {}),
    "one after the other": ([[append("x", 1)], [read("x", 1), append("x", 2)]], {"x": [1, 2]}),
    "own appends are read": ([[append("x", 1), read("x", 1)]], {"x": [1]}),
    "unknown and there": ([[append("x", 1), Ending.UNKNOWN], [read("x", 1)]], {"x": [1]}),
    "unknown and not there": ([[append("x", 1), Ending.UNKNOWN], [read("x")]], {"x": []}),
    "aborted": ([[append("x", 1), Ending.ABORTED]], {"x": []}),
    "an aborted one may have read anything": ([[read("x", 1), append("y", 2), Ending.ABORTED]], {}),
}

BAD = {
    "G1a": ([[append("x", 1), Ending.ABORTED], [read("x", 1)]], None),
    "G1b": ([[append("x", 1), append("x", 2)], [read("x", 1)]], {"x": [1, 2]}),
    "G1c": ([[append("x", 1), read("y", 2)], [append("y", 2), read("x", 1)]], {"x": [1], "y": [2]}),
    "G0": ([[append("x", 1), append("y", 2)], [append("x", 3), append("y", 4)]], {"x": [1, 3], "y": [4, 2]}),
    "lost update": ([[append("x", 1)], [append("x", 2)]], {"x": [2]}),
    "G-single": ([[append("x", 1), append("y", 2)], [read("x", 1), read("y")]], {"x": [1], "y": [2]}),
    "G2-item": ([[read("x"), append("y", 1)], [read("y"), append("x", 2)]], {"x": [2], "y": [1]}),
    "incompatible orders": ([[append("x", 1)], [append("x", 2)], [read("x", 1)], [read("x", 2)]], None),
    "twice": ([[append("x", 1)]], {"x": [1, 1]}),
    "nobody appended": ([[read("x", 7)]], None),
    "half of": ([[append("x", 1), append("y", 2), Ending.UNKNOWN]], {"x": [1], "y": []}),
    "own": ([[append("x", 1), append("x", 2), read("x", 2, 1)]], None),
    "in the end": ([[append("x", 1)], [read("x", 1)]], {"x": []}),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_is_right_passes(name):
    transactions, final = GOOD[name]
    history(*transactions).check(final)
    history(*transactions).check_snapshot_isolation(final)


@pytest.mark.parametrize("name", BAD)
def test_an_anomaly_is_found_and_named(name):
    transactions, final = BAD[name]
    with pytest.raises(BrokenPromise, match=name):
        history(*transactions).check(final)


def test_write_skew_is_all_that_snapshot_isolation_allows():
    for name, (transactions, final) in BAD.items():
        if name == "G2-item":
            history(*transactions).check_snapshot_isolation(final)
        else:
            with pytest.raises(BrokenPromise):
                history(*transactions).check_snapshot_isolation(final)


def test_who_begins_after_a_commit_has_to_see_it():
    with pytest.raises(BrokenPromise, match="against real time"):
        history([append("x", 1)], [], [read("x")], concurrent=False).check({"x": [1]})


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=12))
def test_any_serial_execution_passes(program):
    state = {f"k{key}": [] for key in range(3)}
    transactions = []
    for element, (key, also_reads) in enumerate(program):
        operations = [read(f"k{key}", *state[f"k{key}"])] if also_reads else []
        operations.append(append(f"k{key}", element))
        state[f"k{key}"].append(element)
        transactions.append(operations)
    history(*transactions, concurrent=False).check(state)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_a_cycle_is_found_if_and_only_if_there_is_one(pairs):
    edges = [Edge(str(source), str(target), "ww", "") for source, target in pairs]
    reachable = {(source, target) for source, target in pairs}
    for middle, start, end in itertools.product(range(8), repeat=3):
        if (start, middle) in reachable and (middle, end) in reachable:
            reachable.add((start, end))
    cycle = shortest_cycle(Graph(edges))
    assert bool(cycle) == any((node, node) in reachable for node in range(8))
    for edge, following in zip(cycle, cycle[1:] + cycle[:1], strict=True):
        assert edge in edges
        assert edge.target == following.source
