"""Requests that arrive together share commits; nobody may notice by an answer, or by what is there afterwards."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import inmem
from inmem import Custom, InmemError
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, open_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = st.sampled_from(["a", "b"])
VERSIONS = st.integers(0, 3)

KV = st.one_of(
    st.tuples(st.just("put"), NAMES),
    st.tuples(st.just("delete"), NAMES),
    st.tuples(st.just("cas"), NAMES),
    st.tuples(st.just("get"), NAMES),
    st.tuples(st.just("list")),
)
CELLS = st.one_of(
    st.tuples(st.sampled_from(["init", "set", "delete", "read", "exists"]), NAMES),
    st.tuples(st.just("cas"), NAMES, VERSIONS),
)
EVENTS = st.tuples(st.sampled_from(["append", "len", "head", "types"]))
TRACES = st.one_of(
    st.tuples(st.sampled_from(["record", "get"]), NAMES),
    st.tuples(st.just("child"), NAMES, NAMES),
    st.tuples(st.sampled_from(["list", "roots"])),
)
RUNS = st.one_of(
    st.tuples(st.sampled_from(["create", "pause", "resume", "complete", "tag", "delete", "get"]), NAMES),
    st.tuples(st.just("list")),
)


def send_kv(db: inmem.Database, run: str, number: int, step: Any) -> Any:
    kv = db.kv.futures
    match step:
        case ("put", key):
            return kv.put(run, key, number)
        case ("delete", key):
            return kv.delete(run, key)
        case ("cas", key):
            return kv.cas(run, key, 0, number)
        case ("get", key):
            return kv.get(run, key)
        case _:
            return kv.list(run)


def send_cells(db: inmem.Database, run: str, number: int, step: Any) -> Any:
    cells = db.cells.futures
    match step:
        case ("init" | "set", name):
            return getattr(cells, step[0])(run, name, number)
        case ("cas", name, version):
            return cells.cas(run, name, version, number)
        case (what, name):
            return getattr(cells, what)(run, name)


def send_events(db: inmem.Database, run: str, number: int, step: Any) -> Any:
    events = db.events.futures
    return events.append(run, f"type {number % 3}", number) if step == ("append",) else getattr(events, step[0])(run)


def send_traces(db: inmem.Database, run: str, number: int, step: Any) -> Any:
    traces = db.traces.futures
    match step:
        case ("record", name):
            return traces.record_with_options(run, Custom("x", number), id=name)
        case ("child", name, parent):
            return traces.record_with_options(run, Custom("x", number), id=name, parent_id=parent)
        case ("get", name):
            return traces.get(run, name)
        case (what,):
            return getattr(traces, what)(run)


def send_runs(db: inmem.Database, run: str, number: int, step: Any) -> Any:
    runs = db.runs.futures
    match step:
        case ("create", name):
            return runs.create_run(run + name)
        case ("tag", name):
            return runs.add_tags(run + name, [str(number)])
        case ("delete" | "get", name):
            return getattr(runs, f"{step[0]}_run")(run + name)
        case ("list",):
            return runs.list_runs()
        case (what, name):
            return getattr(runs, f"{what}_run")(run + name)


def shown(run: str, answer: Any) -> Any:
    """What of an answer cannot depend on time, on the name of the run, or on which commits there were."""
    match answer:
        case InmemError():
            return type(answer).__name__
        case inmem.Event():
            return answer.sequence, answer.event_type, answer.payload
        case inmem.State():
            return answer.value, answer.version
        case inmem.Trace():
            return answer.id, answer.parent_id, answer.kind
        case inmem.RunMetadata():
            return answer.run_id.removeprefix(run), answer.status, answer.tags
        case list():
            # Of the runs of a store, those of this test.
            ours = [item for item in answer if not str(item).startswith("run ") or item.startswith(run)]
            return [shown(run, item) for item in ours]
        case str():
            return answer.removeprefix(run)
        case _:
            return answer


class Crowd(NamedTuple):
    """What is asked of one primitive.

    Attributes:
        steps: a strategy for what each of a crowd asks.
        send: (database, run, number, step) -> the future of the answer.
        ahead: a step that holds the crowd up while it is committed.
        probes: steps that show afterwards what has been left.
        answered_by_version: steps whose answer is the version of the commit.
    """

    steps: st.SearchStrategy[Any]
    send: Callable[[inmem.Database, str, int, Any], Any]
    ahead: tuple[str, ...]
    probes: tuple[tuple[str, ...], ...]
    answered_by_version: frozenset[str] = frozenset()

    def ask(self, db: inmem.Database, run: str, number: int, step: Any) -> Callable[[], Any]:
        """Send a step, and return what waits for its answer and shows it."""
        future = self.send(db, run, number, step)

        def answer() -> Any:
            try:
                answered = future.get(timeout=FAILSAFE_S)
            except InmemError as error:
                answered = error
            else:
                if step[0] in self.answered_by_version:
                    return type(answered)
            return shown(run, answered)

        return answer


CROWDS = {
    "kv": Crowd(KV, send_kv, ("put", "x"), (("list",), ("cas", "a"), ("cas", "b")), frozenset({"put", "cas"})),
    "cells": Crowd(CELLS, send_cells, ("init", "x"), (("init", "a"), ("init", "b"))),
    "events": Crowd(EVENTS, send_events, ("append",), (("head",), ("len",), ("types",))),
    "traces": Crowd(TRACES, send_traces, ("record", "x"), (("list",), ("roots",))),
    "runs": Crowd(RUNS, send_runs, ("create", "x"), (("list",), ("get", "a"), ("get", "b"))),
}
FRESH = count()


@pytest.fixture(scope="module", params=["caller", "threads"])
def stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FaultyDisk, inmem.Database, inmem.Database]]:
    disk = FaultyDisk(tmp_path_factory.mktemp("crowds") / "db")
    with open_on(disk, dispatcher=request.param) as crowded, inmem.open(":memory:") as single:
        yield disk, crowded, single


@pytest.mark.unmeasured
@pytest.mark.parametrize("primitive", CROWDS)
@settings(max_examples=60)
@given(data=st.data())
def test_a_crowd_gets_the_answers_that_each_would_have_got_alone(stores, primitive, data):
    disk, crowded, single = stores
    crowd = CROWDS[primitive]
    steps = data.draw(st.lists(crowd.steps, min_size=1, max_size=12))
    number = next(FRESH)
    run = f"run {number}:"

    gate = disk.gate("sync", ".wal")
    try:
        ahead = crowd.ask(crowded, f"run ahead of {number}", 0, crowd.ahead)
        assert gate.arrived.wait(FAILSAFE_S)
        answers = [crowd.ask(crowded, run, at, step) for at, step in enumerate(steps)]
    finally:
        gate.open()
    ahead()
    assert [answer() for answer in answers] == [crowd.ask(single, run, at, step)() for at, step in enumerate(steps)]

    # Afterwards as well: what has existed once counts as such, and runs come in the order of their creation.
    left = [[crowd.ask(db, run, 99, probe)() for probe in crowd.probes] for db in (crowded, single)]
    assert left[0] == left[1]
