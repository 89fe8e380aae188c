"""Two pykka agents hand work over through a StateCell.

A researcher and a writer take turns working on one report. The messages between them only say "have a look"; a cell
records whose turn it is. Each turn is one commit, and an agent does nothing when it is not its turn. So duplicate
messages are harmless: this example sends every message twice.

    python examples/handover.py
"""

from typing import Any

import pykka

import inmem

ROUNDS = 3


class Agent(pykka.ThreadingActor):
    """An agent that takes its turn when the cell says so, and then wakes its partner."""

    # Lets the process exit without joining this thread, even on a second Ctrl-C while `main` stops the actors.
    use_daemon_thread = True

    def __init__(self, store: pykka.ActorRef[Any], run: str, name: str, finished: pykka.ThreadingFuture[None]) -> None:
        super().__init__()
        self.db = inmem.connect(store)
        self.run = run
        self.name = name
        self.finished = finished
        self.partner: Any = None
        self.ignored = 0

    def meet(self, partner: Any) -> None:
        """Set the agent to wake after a turn."""
        self.partner = partner

    def look(self) -> None:
        """Take a turn if it is this agent's turn."""
        taken = self.db.transaction(self.run, self.take_turn)
        if taken is None:
            self.ignored += 1
            return
        print(f"round {taken['round']}: {self.name}")
        if self.next_turn(taken)["of"] == "nobody":
            self.finished.set()
        for _ in range(2):
            self.partner.look()

    def take_turn(self, txn: inmem.Transaction) -> dict[str, Any] | None:
        """Write text, event and hand-over, all or nothing; return the turn, or None if it is the other agent's."""
        state = txn.cells.read("turn")
        if state is None or state.value["of"] != self.name:
            return None
        turn: dict[str, Any] = state.value
        txn.kv.put("report", [*txn.kv.get("report"), f"{self.name}, round {turn['round']}"])
        txn.events.append("turn", {"by": self.name, "round": turn["round"]})
        txn.cells.cas("turn", state.version, self.next_turn(turn))
        return turn

    def next_turn(self, turn: dict[str, Any]) -> dict[str, Any]:
        """Return the turn that follows this agent's turn."""
        if self.name == "researcher":
            return {"of": "writer", "round": turn["round"]}
        if turn["round"] < ROUNDS:
            return {"of": "researcher", "round": turn["round"] + 1}
        return {"of": "nobody", "round": turn["round"]}

    def count_ignored(self) -> int:
        """Return how many messages arrived when it was not this agent's turn."""
        return self.ignored


def main() -> None:
    store = inmem.spawn(":memory:")
    db = inmem.connect(store)
    try:
        run = db.begin_run(tags=["report"])
        db.kv.put(run, "report", [])
        db.cells.init(run, "turn", {"of": "researcher", "round": 1})

        finished: pykka.ThreadingFuture[None] = pykka.ThreadingFuture()
        researcher = Agent.start(store, run, "researcher", finished).proxy()
        writer = Agent.start(store, run, "writer", finished).proxy()
        researcher.meet(writer).get()
        writer.meet(researcher).get()

        researcher.look()
        finished.get(timeout=30)
        # An actor handles messages in order, so each count includes every message sent before this request.
        ignored = researcher.count_ignored().get() + writer.count_ignored().get()

        turns = [(event.payload["by"], event.payload["round"]) for event in db.events.iter(run)]
        assert turns == [(name, number) for number in range(1, ROUNDS + 1) for name in ("researcher", "writer")]
        assert len(db.kv.get(run, "report")) == 2 * ROUNDS
        assert ignored > 0
        print("each turn was taken once; messages that arrived out of turn were ignored")

        db.end_run(run)
    finally:
        # Stops the agents and then the store, which closes cleanly, even after Ctrl-C.
        pykka.ActorRegistry.stop_all()
    assert not store.is_alive()


if __name__ == "__main__":
    main()
