"""An agent with memory, cells and traces: each of its steps is one transaction over all of them.

The agent books a trip. Each step reads the agent's memory and then writes to four primitives in one commit: facts
(KVStore), the current phase (StateCell), the reasoning (TraceStore) and what happened (EventLog). A step that fails
half-way leaves nothing behind. A step that conflicts with another commit runs again.

    python examples/agent_memory.py
"""

from typing import Any

import inmem
from inmem import Decision, Thought, ToolCall, Transaction

Flight = dict[str, Any]

FLIGHTS: list[Flight] = [{"to": "OSL", "price": 320}, {"to": "OSL", "price": 210}]


def plan(txn: Transaction) -> None:
    txn.cells.init("phase", "searching")
    txn.kv.put("goal", {"to": "OSL", "budget": 250})
    thought = txn.traces.record(Thought("find the flights first, then compare prices", confidence=0.8))
    txn.kv.put("plan_trace", thought.id)
    txn.events.append("planned", {"goal": txn.kv.get("goal")})


def choose(txn: Transaction, flights: list[Flight]) -> Flight:
    """Record the search, choose a flight and advance the phase: one commit or nothing."""
    goal = txn.kv.get("goal")
    parent = txn.kv.get("plan_trace")
    call = txn.traces.record_child(parent, ToolCall("search", {"to": goal["to"]}, result=flights))
    cheapest = min(flights, key=lambda flight: flight["price"])
    prices = [flight["price"] for flight in flights]
    txn.traces.record_child(call.id, Decision("which flight?", prices, cheapest["price"], reasoning="the cheapest"))
    txn.kv.put("flight", cheapest)
    phase = txn.cells.read("phase")
    assert phase is not None
    txn.cells.cas("phase", phase.version, "chosen")
    txn.events.append("chosen", cheapest)
    if cheapest["price"] > goal["budget"]:
        raise ValueError(f"{cheapest['price']} exceeds the budget of {goal['budget']}")
    return cheapest


def main() -> None:
    with inmem.open(":memory:") as db:
        run = db.begin_run(tags=["travel"])

        db.transaction(run, plan)
        print("planned:  five writes to four primitives, one commit")
        # One commit for registering the run, one for the whole plan.
        assert db.version == 2

        # A step that fails half-way leaves nothing in any of the four primitives.
        too_dear = [flight for flight in FLIGHTS if flight["price"] > 250]
        try:
            db.transaction(run, lambda txn: choose(txn, too_dear))
        except ValueError as error:
            print("failed:  ", error)
        assert db.kv.get(run, "flight") is None
        phase = db.cells.read(run, "phase")
        assert phase is not None
        assert (phase.value, phase.version) == ("searching", 1)
        assert db.traces.count(run) == 1
        assert db.events.len(run) == 1
        print("          that step stored nothing")

        # Another writer changes the goal while the step is running, so the step runs again and sees the new goal.
        budgets: list[int] = []

        def step(txn: Transaction) -> Flight:
            budgets.append(txn.kv.get("goal")["budget"])
            if len(budgets) == 1:
                db.kv.put(run, "goal", {"to": "OSL", "budget": 220})
            return choose(txn, FLIGHTS)

        flight = db.transaction(run, step)
        print("chosen:  ", flight, "with a budget of", ", then ".join(map(str, budgets)))
        assert budgets == [250, 220]
        assert db.kv.get(run, "flight") == {"to": "OSL", "price": 210}

        print("memory:  ", db.kv.list(run))
        print("events:  ", [event.event_type for event in db.events.iter(run)])
        print("reasoning:")
        tree = db.traces.get_tree(run, db.kv.get(run, "plan_trace"))
        for depth, trace in tree.walk():
            print("  " * (depth + 1) + trace.trace_type)
        # The first attempt left nothing behind: there is one decision, not two.
        assert [trace.trace_type for _, trace in tree.walk()] == ["Thought", "ToolCall", "Decision"]
        assert [event.event_type for event in db.events.iter(run)] == ["planned", "chosen"]

        db.end_run(run)
        assert db.verify().is_valid


if __name__ == "__main__":
    main()
