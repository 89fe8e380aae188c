"""A view that follows what is committed, is stopped in the middle, and goes on where it was, without gap or repetition.

The view counts the tool calls of every agent. What it has counted, and up to which version, it keeps in one
transaction: so it may be killed at any moment, and no call is counted twice or not at all.

    python examples/live_view.py
"""

import tempfile
import threading
from pathlib import Path

import inmem
from inmem import Change, ChangeKind, ToolCall, WatchGapError

AGENTS = ("ada", "ben", "cyd")
TOOLS = ("search", "book", "pay")
CALLS = 40


def agent(db: inmem.Database, name: str) -> None:
    for number in range(CALLS):
        db.traces.record(name, ToolCall(TOOLS[number % len(TOOLS)], {"n": number}))
        db.kv.put(name, "step", number)


class View:
    """Counts of tool calls by agent and tool, kept in a store of their own."""

    def __init__(self, db: inmem.Database) -> None:
        self.db = db

    @property
    def version(self) -> int:
        """Up to where the counts go."""
        return self.db.get("view", "version") or 0

    def counts(self) -> dict[str, int]:
        """Everything counted so far."""
        return {key: self.db.get("counts", key) for key in self.db.kv.list("counts")}

    def take_in(self, change: Change, version: int) -> None:
        """Count one change, and remember how far that was."""

        def store(txn: inmem.Transaction) -> None:
            if change.kind is ChangeKind.PUT:
                name = f"{change.run}: {change.value.kind.tool_name}"
                counts = txn.on("counts").kv
                counts.put(name, (counts.get(name) or 0) + 1)
            txn.kv.put("version", version)

        self.db.transaction("view", store)

    def follow(self, source: inmem.Database, changes_max: int | None = None, timeout: float | None = None) -> int:
        """Take in what is new, until there is nothing for a while, or until enough was taken in; return how much."""
        count = 0
        with source.watch(primitive="traces", after_version=self.version, timeout=timeout) as watcher:
            for change in watcher:
                self.take_in(change, watcher.version)
                count += 1
                if count == changes_max:
                    break
        return count


def main(folder: Path) -> None:
    with inmem.open(folder / "agents.db") as source:
        with inmem.open(folder / "view.db") as db:
            workers = [threading.Thread(target=agent, args=(source, name)) for name in AGENTS]
            for worker in workers:
                worker.start()
            first = View(db).follow(source, changes_max=25)
            for worker in workers:
                worker.join()
        print(f"the view took in {first} calls while the agents worked, and was stopped")

    with inmem.open(folder / "agents.db") as source, inmem.open(folder / "view.db") as db:
        second = View(db).follow(source, timeout=0)
        print(f"after both were opened again it took in the other {second}")
        counts = View(db).counts()
        expected: dict[str, int] = {}
        for name in AGENTS:
            for trace in source.traces.query_by_type(name, "ToolCall"):
                call = f"{name}: {trace.kind.tool_name}"
                expected[call] = expected.get(call, 0) + 1
        assert counts == expected, "it knows what the store knows"
        print(f"in all {sum(counts.values())} calls of {len(AGENTS)} agents, each counted once")
        source.checkpoint()

    with inmem.open(folder / "agents.db") as source:
        try:
            source.watch(after_version=1)
        except WatchGapError:
            print("whoever asks for changes that are not kept any more is told so")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
