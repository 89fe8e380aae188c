"""Real graphs on the saver and the store: interrupted, resumed after reopening, travelling back in time."""

import asyncio
import operator
import threading
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest

import inmem

pytest.importorskip("langgraph.graph", reason="the extra langgraph is not installed")

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt

from inmem.integrations.langgraph import InmemSaver, InmemStore

THREAD = {"configurable": {"thread_id": "trip-1"}}


class Trip(TypedDict):
    messages: Annotated[list, add_messages]
    seat: str


calls = []


@pytest.fixture(autouse=True)
def fresh_calls():
    calls.clear()


def search(state):
    calls.append("search")
    return {"messages": [AIMessage(f"found a seat for {state['messages'][0].content}")], "seat": "12A"}


def approve(state):
    answer = interrupt({"seat": state["seat"]})
    calls.append("approve")
    return {"messages": [HumanMessage(answer)]}


def book(state):
    calls.append("book")
    return {"messages": [AIMessage(f"booked {state['seat']}")]}


def trip_graph(checkpointer, store=None):
    builder = StateGraph(Trip)
    for node in (search, approve, book):
        builder.add_node(node)
    builder.add_edge(START, "search")
    builder.add_edge("search", "approve")
    builder.add_edge("approve", "book")
    builder.add_edge("book", END)
    return builder.compile(checkpointer=checkpointer, store=store)


def texts(state):
    return [message.content for message in state["messages"]]


def test_a_graph_is_resumed_after_its_database_was_reopened(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        paused = trip_graph(InmemSaver(db)).invoke({"messages": [HumanMessage("Oslo")]}, THREAD)
    assert paused["__interrupt__"][0].value == {"seat": "12A"}

    with inmem.open(tmp_path / "db") as db:
        graph = trip_graph(InmemSaver(db))
        assert graph.get_state(THREAD).next == ("approve",)
        done = graph.invoke(Command(resume="yes"), THREAD)
        assert texts(done) == ["Oslo", "found a seat for Oslo", "yes", "booked 12A"]
        assert db.verify().is_valid
    assert calls == ["search", "approve", "book"]


def test_a_thread_moved_from_another_checkpointer_goes_on():
    """The base class counts ints alone, and LangGraph's own checkpointers write str: a NotImplementedError."""
    others = InMemorySaver()
    trip_graph(others).invoke({"messages": [HumanMessage("Oslo")]}, THREAD)
    with inmem.open(":memory:") as db:
        saver = InmemSaver(db)
        for found in reversed(list(others.list(THREAD))):
            above = found.parent_config or {"configurable": {"thread_id": "trip-1", "checkpoint_ns": ""}}
            versions = found.checkpoint["channel_versions"]
            config = saver.put(above, found.checkpoint, found.metadata, versions)
            for task_id, channel, value in found.pending_writes:
                saver.put_writes(config, [(channel, value)], task_id)

        graph = trip_graph(saver)
        assert texts(graph.invoke(Command(resume="yes"), THREAD))[-2:] == ["yes", "booked 12A"]
        graph.update_state(THREAD, {"seat": "1C"}, as_node="search")
        assert graph.get_state(THREAD).next == ("approve",)
        newest = [max(found.checkpoint["channel_versions"].values(), default="") for found in saver.list(THREAD)]
        assert newest == sorted(newest, reverse=True)
        assert newest[0] > max(versions.values())
    assert calls == ["search", "approve", "book"]


@pytest.mark.parametrize(("current", "number"), [(f"{9:032}.{0.5:016}", 10), (f"{99:032}.{0.25:016}", 100)])
def test_a_version_that_is_a_str_is_followed_by_a_greater_one_of_the_same_form(current, number):
    with inmem.open(":memory:") as db:
        saver = InmemSaver(db)
        following = saver.get_next_version(current, None)
        assert following.startswith(f"{number:032}.")
        assert following < saver.get_next_version(following, None)
        assert [saver.get_next_version(None, None), saver.get_next_version(3, None)] == [1, 4]


def test_time_travel_goes_on_from_an_old_checkpoint_and_keeps_the_other_branch():
    with inmem.open(":memory:") as db:
        graph = trip_graph(InmemSaver(db))
        graph.invoke({"messages": [HumanMessage("Oslo")]}, THREAD)
        graph.invoke(Command(resume="yes"), THREAD)
        first = graph.get_state(THREAD)
        history = list(graph.get_state_history(THREAD))
        assert [state.metadata["step"] for state in history] == [3, 2, 1, 0, -1]

        before_booking = next(state for state in history if state.next == ("book",))
        changed = graph.update_state(before_booking.config, {"seat": "1C"})
        other = graph.invoke(None, changed)

        assert texts(other) == ["Oslo", "found a seat for Oslo", "yes", "booked 1C"]
        assert texts(graph.get_state(first.config).values)[-1] == "booked 12A"
        assert texts(graph.get_state(THREAD).values)[-1] == "booked 1C"


def test_an_async_graph_streams_and_resumes():
    async def story(db):
        graph = trip_graph(InmemSaver(db))
        async for _ in graph.astream({"messages": [HumanMessage("Rome")]}, THREAD):
            pass
        done = await graph.ainvoke(Command(resume="no"), THREAD)
        return texts(done), [state.next async for state in graph.aget_state_history(THREAD)]

    with inmem.open(":memory:") as db:
        seen, nexts = asyncio.run(story(db))
    assert seen == ["Rome", "found a seat for Rome", "no", "booked 12A"]
    assert nexts == [(), ("book",), ("approve",), ("search",), ("__start__",)]


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_a_task_that_succeeded_beside_a_failed_one_is_not_run_again(durability):
    class Sums(TypedDict):
        total: Annotated[list, operator.add]

    failures = ["once"]
    stored = threading.Event()

    class Watched(InmemSaver):
        def put_writes(self, config, writes, task_id, task_path=""):
            super().put_writes(config, writes, task_id, task_path)
            if ("total", ["good"]) in writes:
                stored.set()

    def good(state):
        calls.append("good")
        return {"total": ["good"]}

    def bad(state):
        if failures:
            assert stored.wait(60)
            raise RuntimeError(failures.pop())
        return {"total": ["bad"]}

    builder = StateGraph(Sums)
    builder.add_node("good", good)
    builder.add_node("bad", bad)
    builder.add_edge(START, "good")
    builder.add_edge(START, "bad")

    with inmem.open(":memory:") as db:
        graph = builder.compile(checkpointer=Watched(db))
        with pytest.raises(RuntimeError, match="once"):
            graph.invoke({"total": []}, THREAD, durability=durability)
        assert sorted(graph.invoke(None, THREAD, durability=durability)["total"]) == ["bad", "good"]
    assert calls == ["good"]


def test_a_subgraph_has_checkpoints_of_its_own():
    class Inner(TypedDict):
        seat: str

    def ask(state):
        return {"seat": interrupt("which?")}

    inner = StateGraph(Inner)
    inner.add_node("ask", ask)
    inner.add_edge(START, "ask")
    outer = StateGraph(Inner)
    outer.add_node("inner", inner.compile())
    outer.add_edge(START, "inner")

    with inmem.open(":memory:") as db:
        saver = InmemSaver(db)
        graph = outer.compile(checkpointer=saver)
        graph.invoke({"seat": ""}, THREAD)
        [task] = graph.get_state(THREAD, subgraphs=True).tasks
        assert task.state.next == ("ask",)
        namespaces = {found.config["configurable"]["checkpoint_ns"] for found in saver.list(THREAD)}
        assert "" in namespaces
        assert any(name.startswith("inner:") for name in namespaces)
        assert graph.invoke(Command(resume="3D"), THREAD) == {"seat": "3D"}


def test_pruning_keeps_what_a_delta_channel_is_rebuilt_from():
    def add(values, writes):
        return values + [part for write in writes for part in write]

    class Log(TypedDict):
        lines: Annotated[list, DeltaChannel(add, snapshot_frequency=3)]
        turn: int

    def work(state):
        return {"lines": [f"turn {state['turn']}"]}

    builder = StateGraph(Log)
    builder.add_node("work", work)
    builder.add_edge(START, "work")

    with inmem.open(":memory:") as db:
        saver = InmemSaver(db)
        graph = builder.compile(checkpointer=saver)
        removed = 0
        for turn in range(4):
            graph.invoke({"turn": turn, "lines": [f"asked {turn}"]}, THREAD)
            whole = graph.get_state(THREAD).values
            before = len(list(saver.list(THREAD)))

            saver.prune(["trip-1"])

            assert graph.get_state(THREAD).values == whole
            removed += before - len(list(saver.list(THREAD)))
            assert asyncio.run(graph.aget_state(THREAD)).values == whole
        assert removed > 0
        assert whole["lines"] == [line for turn in range(4) for line in (f"asked {turn}", f"turn {turn}")]


def test_what_a_step_says_and_its_checkpoint_are_one_commit():
    """The outbox: what a node hands over in its state becomes events with the checkpoint, or neither is there."""
    refuse = []

    class Order(TypedDict):
        outbox: list

    def place(state):
        return {"outbox": [{"order": 1}]}

    def post(txn, saved):
        if refuse:
            raise RuntimeError("no")
        for message in saved.checkpoint["channel_values"].get("outbox", ()):
            txn.events.append("order", message)

    builder = StateGraph(Order)
    builder.add_node("place", place)
    builder.add_edge(START, "place")

    with inmem.open(":memory:") as db:
        graph = builder.compile(checkpointer=InmemSaver(db, on_put=post))
        graph.invoke({"outbox": []}, THREAD)
        assert [event.payload for event in db.events.iter("trip-1")] == [{"order": 1}]

        refuse.append(True)
        other = {"configurable": {"thread_id": "trip-2"}}
        with pytest.raises(RuntimeError, match="no"):
            graph.invoke({"outbox": []}, other)
        assert (list(InmemSaver(db).list(other)), db.events.len("trip-2")) == ([], 0)


def test_an_update_of_the_state_shares_a_transaction_with_other_primitives():
    with inmem.open(":memory:") as db:
        saver, store = InmemSaver(db), InmemStore(db)
        graph = trip_graph(saver)
        graph.invoke({"messages": [HumanMessage("Oslo")]}, THREAD)

        def reseat(txn, seat):
            config = graph.copy({"checkpointer": saver.bound(txn)}).update_state(THREAD, {"seat": seat})
            store.bound(txn).put(("users", "ada"), "seat", {"wish": seat})
            txn.events.append("reseated", {"to": seat})
            return config

        def reseat_and_fail():
            with db.begin("trip-1") as txn:
                reseat(txn, "2B")
                raise RuntimeError

        before = db.version
        with pytest.raises(RuntimeError):
            reseat_and_fail()
        assert (db.version, graph.get_state(THREAD).values["seat"]) == (before, "12A")

        config = db.transaction("trip-1", lambda txn: reseat(txn, "2B"))
        assert db.version == before + 1
        assert graph.get_state(THREAD).config == config
        assert graph.get_state(THREAD).values["seat"] == "2B"
        assert store.get(("users", "ada"), "seat").value == {"wish": "2B"}
        assert db.events.head("trip-1").payload == {"to": "2B"}


@dataclass
class Budget:
    limit: int


def test_state_that_would_not_come_back_as_itself_is_refused_before_it_is_stored():
    class Purse(TypedDict):
        budget: Any

    builder = StateGraph(Purse)
    builder.add_node("spend", lambda state: {"budget": Budget(state["budget"].limit - 1)})
    builder.add_edge(START, "spend")

    with inmem.open(":memory:") as db:
        graph = builder.compile(checkpointer=InmemSaver(db))
        with pytest.raises(inmem.InvalidValueError, match=r"Budget would not be read back .* `allowed_types`"):
            graph.invoke({"budget": Budget(3)}, THREAD)

        graph = builder.compile(checkpointer=InmemSaver(db, allowed_types=[Budget]))
        graph.invoke({"budget": Budget(3)}, THREAD)
        assert graph.get_state(THREAD).values == {"budget": Budget(2)}


def test_nodes_reach_the_store():
    def remember(state, *, store):
        store.put(("users", "ada"), "likes", {"seat": state["seat"]})
        return {"seat": store.get(("users", "ada"), "likes").value["seat"].lower()}

    class Wish(TypedDict):
        seat: str

    builder = StateGraph(Wish)
    builder.add_node("remember", remember)
    builder.add_edge(START, "remember")
    with inmem.open(":memory:") as db:
        graph = builder.compile(checkpointer=InmemSaver(db), store=InmemStore(db))
        assert graph.invoke({"seat": "AISLE"}, THREAD) == {"seat": "aisle"}
        assert InmemStore(db).get(("users", "ada"), "likes").value == {"seat": "AISLE"}
