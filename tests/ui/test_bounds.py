"""What a page costs depends on what it shows, not on how much there is: counted in calls, not in seconds."""

import tracemalloc

import pytest

pytest.importorskip("starlette", reason="the explorer is an extra")

from starlette.requests import Request

import inmem
from inmem import Thought, ToolCall
from inmem.ui import events_page, runs_page, state_page, traces_page
from inmem.ui.desk import Desk
from inmem.ui.jobs import Jobs
from inmem.ui.source import Source
from tests.guards.counting import calls_of

SMALL = {"runs": 1_200, "events": 1_000, "traces": 500, "entries": 300}
LARGE = {"runs": 10_000, "events": 50_000, "traces": 5_000, "entries": 5_000}


def store_of(runs, events, traces, entries):
    db = inmem.open(":memory:")
    for start in range(0, runs, 400):
        with db.begin("x") as txn:
            for at in range(start, start + 400):
                txn.runs.create_run(f"run-{at}", tags=["even" if at % 2 == 0 else "odd"])
    for start in range(0, events, 500):
        db.events.append_many("big", [("tool" if at % 3 else "user", at) for at in range(start, start + 500)])
    with db.begin("big") as txn:
        for at in range(traces):
            if at % 10 == 0:
                root = txn.traces.record(Thought("t"))
            else:
                txn.traces.record_child(root.id, ToolCall("t", at, at, float(at)))
        for at in range(entries):
            txn.kv.put(f"key-{at:05}", at)
            txn.cells.set(f"cell-{at:05}", at)
    return db


@pytest.fixture(scope="module")
def desks():
    made = []
    for sizes in (SMALL, LARGE):
        jobs = Jobs()
        made.append((store_of(**sizes), jobs))
    yield [Desk(Source(db), jobs) for db, jobs in made]
    for db, jobs in made:
        jobs.stop()
        db.close()


def cost_of(desk, show, query):
    request = Request({"type": "http", "method": "GET", "headers": [], "query_string": query.encode()})
    answer = []

    def work():
        answer[:] = [desk.page(show)(request)]

    work()  # templates are compiled once
    calls = calls_of(work)
    assert answer[0].status_code == 200
    return calls, answer[0].body.count(b"data-key=")


@pytest.mark.parametrize(
    ("show", "query"),
    [
        (runs_page.show_runs, ""),
        (runs_page.show_runs, "order=oldest"),
        (runs_page.show_runs, "status=Active&tag=odd"),
        (runs_page.show_runs, "after=run-600"),
        (runs_page.show_runs, "before=run-600"),
        (runs_page.show_runs, "q=no+such+run"),
        (events_page.show_events, "run=big"),
        (events_page.show_events, "run=big&from=250"),
        (events_page.show_events, "run=big&from=end"),
        (events_page.show_events, "run=big&type=user"),
        (events_page.show_event, "run=big&seq=400"),
        (traces_page.show_traces, "run=big"),
        (traces_page.show_traces, "run=big&type=ToolCall"),
        (state_page.show_state, "run=big"),
        (state_page.show_state, "run=big&keys=key-00100"),
    ],
)
def test_a_page_of_a_large_store_costs_what_one_of_a_small_store_does(desks, show, query):
    (small, small_rows), (large, large_rows) = [cost_of(desk, show, query) for desk in desks]
    assert small_rows == large_rows
    # Deeper indices take a step more for each look.
    assert large < 1.2 * small + 200, (small, large)


@pytest.fixture(scope="module")
def desk_of_large_values():
    jobs = Jobs()
    with inmem.open(":memory:", durability="never") as db:
        for at in range(_LARGE_COUNT):
            value = f"{at} " + "x" * _LARGE_BYTES
            db.events.append("big", "e", value)
            db.traces.record_with_options("big", ToolCall("t", value), tags=["t"])
            db.put("big", f"key-{at}", value)
        yield Desk(Source(db), jobs)
    jobs.stop()


_LARGE_COUNT = 24
_LARGE_BYTES = 1024 * 1024


@pytest.mark.parametrize(
    ("show", "query"),
    [
        (events_page.show_events, "run=big"),
        (events_page.show_events, "run=big&type=e"),
        (traces_page.show_traces, "run=big"),
        (traces_page.show_traces, "run=big&type=ToolCall"),
        (traces_page.show_traces, "run=big&tag=t"),
        (state_page.show_state, "run=big"),
    ],
)
def test_a_page_of_large_values_holds_few_of_them_at_a_time(desk_of_large_values, show, query):
    request = Request({"type": "http", "method": "GET", "headers": [], "query_string": query.encode()})
    page = desk_of_large_values.page(show)
    page(request)  # templates are compiled once
    tracemalloc.start()
    try:
        answer = page(request)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.body.count(b"data-key=") == _LARGE_COUNT
    # One while the next is read, a head of the log, and what is made of them on the way.
    assert most < 6 * _LARGE_BYTES
