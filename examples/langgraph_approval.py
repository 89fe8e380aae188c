"""A LangGraph agent that is killed, is resumed, waits for approval, and continues each time where it stopped.

The agent finds a seat, reserves it, asks a human for approval, and books it. The first process is killed during the
reservation. A second process resumes the agent without repeating the finished step. Each seat the agent chooses is
appended as an event in the same commit as the checkpoint that contains it, so the events and the checkpoints always
agree, even after a kill.

    python examples/langgraph_approval.py

Needs the extra `langgraph`: run pip install '.[langgraph]' in this clone. `make test` installs it in .venv.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

import inmem
from inmem.integrations.langgraph import InmemSaver


class Trip(TypedDict):
    """The state of the graph."""

    city: str
    seat: str
    booked: bool


def search(state: Trip) -> dict[str, Any]:
    print(f"  search:  found 12A to {state['city']}", flush=True)
    return {"seat": "12A"}


def reserve(state: Trip) -> dict[str, Any]:
    if os.environ.get("KILLED_WHILE_RESERVING"):
        print("  reserve: killed", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    print(f"  reserve: {state['seat']} is held", flush=True)
    return {}


def approve(state: Trip) -> dict[str, Any]:
    return {"seat": interrupt(f"{state['seat']} to {state['city']}?")}


def book(state: Trip) -> dict[str, Any]:
    print(f"  book:    {state['seat']}", flush=True)
    return {"booked": True}


def post(txn: inmem.Transaction, saved: CheckpointTuple) -> None:
    """Append an event for each new seat, in the transaction that stores the checkpoint."""
    seat = saved.checkpoint["channel_values"].get("seat")
    last = txn.events.head()
    if seat is not None and (last is None or last.payload != seat):
        txn.events.append("seat", seat)


def trip_graph(db: inmem.Database) -> Any:
    builder = StateGraph(Trip)
    for node in (search, reserve, approve, book):
        builder.add_node(node.__name__, node)
    for before, after in ((START, "search"), ("search", "reserve"), ("reserve", "approve"), ("approve", "book")):
        builder.add_edge(before, after)
    return builder.compile(checkpointer=InmemSaver(db, on_put=post))


THREAD: Any = {"configurable": {"thread_id": "trip-1"}}


def start(folder: str) -> None:
    with inmem.open(folder) as db:
        # "sync": a step begins only after the checkpoint of the previous step is durable.
        trip_graph(db).invoke({"city": "Oslo", "booked": False}, THREAD, durability="sync")


def main() -> None:
    with tempfile.TemporaryDirectory() as parent:
        folder = str(Path(parent) / "trips.db")
        print("a process starts the agent", flush=True)
        program = [sys.executable, __file__, folder]
        worker = subprocess.run(program, env={**os.environ, "KILLED_WHILE_RESERVING": "1"}, check=False)  # noqa: S603
        assert worker.returncode == -signal.SIGKILL

        print("another process resumes it", flush=True)
        with inmem.open(folder) as db:
            asked = trip_graph(db).invoke(None, THREAD)
            print("  asks:   ", asked["__interrupt__"][0].value)

        print("the answer arrives the next day", flush=True)
        with inmem.open(folder) as db:
            graph = trip_graph(db)
            assert graph.get_state(THREAD).next == ("approve",)
            done = graph.invoke(Command(resume="1C"), THREAD)
            assert done == {"city": "Oslo", "seat": "1C", "booked": True}
            events = [event.payload for event in db.events.iter("trip-1")]
            print("events:", events)
            assert events == ["12A", "1C"]
            print("history:", [state.next[0] for state in graph.get_state_history(THREAD) if state.next][::-1])
            assert db.verify().is_valid


if __name__ == "__main__":
    if len(sys.argv) > 1:
        start(sys.argv[1])
    else:
        main()
