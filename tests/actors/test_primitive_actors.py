"""The primitive actors at work in a running store: crowds share commits, and nobody suffers from a neighbour."""

import random
from threading import Barrier, Thread

import pytest

import inmem
from inmem import messages
from inmem.actors.dispatch.caller_dispatcher import CallerDispatcher
from inmem.actors.environment import SystemEntropy
from inmem.actors.options import Options
from inmem.actors.system import start_supervisor
from inmem.engine.errors import CasConflictError, CellExistsError, CellNotFoundError, TraceNotFoundError
from inmem.primitives.trace_kinds import Thought, ToolCall


@pytest.fixture(params=["caller", "threads"])
def db(request):
    with inmem.open(":memory:", dispatcher=request.param) as database:
        yield database


def test_what_the_futures_answer_is_what_the_calls_answer(db):
    event = db.events.futures.append("run", "type", {"x": 1}).get()
    assert db.events.read("run", 0) == event == db.events.futures.read("run", 0).get()
    assert db.events.futures.read_by_type("run", "type").get() == db.events.read_by_type("run", "type") == [event]
    assert db.events.futures.verify_chain("run").get() == db.events.verify_chain("run")

    assert db.cells.futures.set("run", "cell", [1]).get() == 1
    assert db.cells.futures.read("run", "cell").get() == db.cells.read("run", "cell")

    root = db.traces.futures.record("run", Thought("hm")).get()
    child = db.traces.record_child("run", root.id, ToolCall("look", {"at": "it"}))
    assert db.traces.futures.get_tree("run", root.id).get() == db.traces.get_tree("run", root.id)
    assert db.traces.futures.query_by_type("run", ToolCall).get() == [child]

    run = db.runs.futures.create_run(tags=["a"], metadata={"m": 1}).get()
    assert db.runs.futures.query_runs(tags=["a"]).get() == db.runs.query_runs(tags=["a"]) == [run]
    assert db.runs.futures.delete_run(run.run_id).get() is None
    assert db.runs.get_run(run.run_id) is None


def test_appenders_at_once_all_succeed_in_one_order(db):
    agents, each = 8, 25
    start = Barrier(agents)

    def append(agent):
        start.wait()
        for number in range(each):
            db.events.append("run", f"agent-{agent}", number)

    threads = [Thread(target=append, args=(agent,)) for agent in range(agents)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.events.len("run") == agents * each
    assert db.events.verify_chain("run").is_valid
    for agent in range(agents):
        assert [event.payload for event in db.events.read_by_type("run", f"agent-{agent}")] == list(range(each))


def test_requests_that_wait_together_share_commits(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        answers = [db.events.futures.append("run", "type", number) for number in range(200)]
        assert [answer.get().payload for answer in answers] == list(range(200))
        assert db.version < 50


def test_a_refused_request_leaves_its_neighbours_alone(db):
    twin = db.cells.futures
    answers = [
        twin.init("run", "cell", 0),
        twin.init("run", "cell", 1),
        twin.cas("run", "cell", 7, 2),
        twin.cas("run", "cell", 1, 3),
        twin.cas("run", "other", 1, 3),
        twin.set("run", "cell", 4),
    ]
    assert answers[0].get() == 1
    with pytest.raises(CellExistsError):
        answers[1].get()
    with pytest.raises(CasConflictError) as caught:
        answers[2].get()
    assert (caught.value.expected, caught.value.actual) == (7, 1)
    assert answers[3].get() == 2
    with pytest.raises(CellNotFoundError):
        answers[4].get()
    assert answers[5].get() == 3
    assert db.cells.read("run", "cell").value == 4


def test_a_trace_may_name_a_parent_that_was_sent_just_before(db):
    twin = db.traces.futures
    first = twin.record_with_options("run", Thought("1"), id="root")
    second = twin.record_with_options("run", Thought("2"), parent_id="root")
    orphan = twin.record_with_options("run", Thought("3"), parent_id="missing")
    assert second.get().parent_id == first.get().id == "root"
    with pytest.raises(TraceNotFoundError):
        orphan.get()
    assert db.traces.count("run") == 2


def test_iterating_shows_one_snapshot_whatever_happens_meanwhile(db):
    run = db.begin_run()
    db.events.append_many(run, [("type", number) for number in range(10)])
    events = db.events.iter(run, 2, batch_size=3)
    assert next(events).payload == 2
    db.events.append(run, "type", 10)
    db.runs.delete_run(run)
    assert [event.payload for event in events] == [3, 4, 5, 6, 7, 8, 9]
    assert list(db.events.iter(run)) == []


def test_iterating_checks_its_arguments_at_the_call(db):
    for arguments, options in [(("",), {}), (("run", -1), {}), (("run",), {"batch_size": 0})]:
        with pytest.raises(inmem.UsageError):
            db.events.iter(*arguments, **options)


def test_transition_calls_its_function_again_after_a_conflict(db):
    db.cells.init("run", "cell", 0)
    calls = []

    def add_one(state):
        calls.append(state.value)
        if len(calls) == 1:
            db.cells.set("run", "cell", 10)
        return state.value + 1, state.version

    assert db.cells.transition("run", "cell", add_one) == 2
    assert calls == [0, 10]
    assert db.cells.read("run", "cell").value == 11


def test_transition_or_init_counts_both(db):
    assert db.cells.transition_or_init("run", "cell", [], lambda state: ([*state.value, 1], state.version)) == 1
    assert db.cells.read("run", "cell").version == 2
    with pytest.raises(ZeroDivisionError):
        db.cells.transition_or_init("run", "other", 0, lambda state: (1 // state.value, None))
    assert not db.cells.exists("run", "other")


def test_what_a_transition_cannot_use_is_refused_before_there_is_a_transaction(db):
    db.cells.init("run", "cell", 0)
    db.kv.put("run", "k", 1)
    for name in ("cell", "new"):
        with pytest.raises(inmem.InvalidValueError, match=r"^initial: set cannot be stored"):
            db.cells.transition_or_init("run", name, set(), lambda _: (1, None))
        with pytest.raises(inmem.UsageError, match="fn: must be a function that takes the cell's State, not int"):
            db.cells.transition_or_init("run", name, 0, 5)
        with pytest.raises(inmem.UsageError, match="fn: must be a function that takes the cell's State, not NoneType"):
            db.cells.transition("run", name, None)
    assert db.cells.list("run") == ["cell"]


def test_what_a_new_cell_begins_with_is_what_it_was_at_the_call(db):
    initial = [1]
    seen = []

    def lose_once(state):
        seen.append(state.value)
        if len(seen) == 1:
            initial.append(2)
            db.cells.init("run", "cell", 0)
            db.cells.delete("run", "cell")
        return state.value, None

    db.cells.transition_or_init("run", "cell", initial, lose_once)
    assert seen == [[1], [1]]


def test_a_child_must_have_a_parent(db):
    kind = inmem.Thought("x")
    with pytest.raises(inmem.InvalidKeyError, match="parent id: must be a str, not NoneType"):
        db.traces.record_child("run", None, kind)
    with pytest.raises(inmem.InvalidKeyError, match="parent id: must be a str, not NoneType"):
        db.traces.futures.record_child("run", None, kind)
    assert db.traces.count("run") == 0
    # To whom a parent is an option, None is none.
    assert db.traces.record_with_options("run", kind, parent_id=None).parent_id is None


def test_any_actor_may_send_requests_to_the_stores_ref():
    ref = inmem.spawn(":memory:")
    try:
        ref.tell(messages.AppendEvent("run", "type", 1))
        assert ref.ask(messages.CountEvents("run")) == 1
        assert ref.ask(messages.CreateRun()).status is inmem.RunStatus.ACTIVE
        assert ref.ask(messages.GetRunStats()).total_runs == 1
    finally:
        ref.stop()


class StoppedClock:
    """The clock while it catches up after having been set back: the store's time stands still."""

    def now_us(self):
        return 1_700_000_000_000_000

    def monotonic_s(self):
        return 0.0


def test_order_of_recording_does_not_depend_on_the_clock():
    ref = start_supervisor(Options.checked(":memory:"), CallerDispatcher(), StoppedClock(), SystemEntropy(), None)
    ids = [f"{number:02}" for number in range(20)]
    random.Random(7).shuffle(ids)
    try:
        db = inmem.connect(ref)
        for name in ids:
            db.traces.record_with_options("run", Thought("t"), id=name)
            db.runs.create_run(name)
        assert db.traces.list("run") == ids
        assert db.runs.list_runs() == ids
    finally:
        ref.stop()
