"""A view that follows commits, is stopped midway, and resumes where it stopped, with no gaps and no duplicates.

The view counts the tool calls of every agent. It stores the counts and the version they cover in one transaction, so
it may be killed at any moment and still counts every call exactly once.

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
    """Counts of tool calls by agent and tool, kept in a separate store."""

    def __init__(self, db: inmem.Database) -> None:
        self.db = db

    @property
    def version(self) -> int:
        """The version up to which changes are counted."""
        return self.db.get("view", "version") or 0

    def counts(self) -> dict[str, int]:
        """Return the counts so far."""
        return {key: self.db.get("counts", key) for key in self.db.kv.list("counts")}

    def take_in(self, changes: list[Change]) -> None:
        """Count the changes of one commit and store its version, in one transaction."""

        def store(txn: inmem.Transaction) -> None:
            counts = txn.on("counts").kv
            for change in changes:
                if change.kind is ChangeKind.PUT:
                    name = f"{change.run}: {change.value.kind.tool_name}"
                    counts.put(name, (counts.get(name) or 0) + 1)
            txn.kv.put("version", changes[-1].version)

        self.db.transaction("view", store)

    def follow(self, source: inmem.Database, enough: int | None = None, timeout: float | None = None) -> int:
        """Count new changes until `enough` are counted or none comes for `timeout` seconds; return how many."""
        count = 0
        commit: list[Change] = []
        with source.watch(primitive="traces", after_version=self.version, timeout=timeout) as watcher:
            for change in watcher:
                commit.append(change)
                # A commit may hold the traces of several agents, and a version always covers a whole commit.
                if change.is_last:
                    self.take_in(commit)
                    count += len(commit)
                    commit = []
                    if enough is not None and count >= enough:
                        break
        return count


def main(folder: Path) -> None:
    with inmem.open(folder / "agents.db") as source:
        with inmem.open(folder / "view.db") as db:
            workers = [threading.Thread(target=agent, args=(source, name)) for name in AGENTS]
            for worker in workers:
                worker.start()
            first = View(db).follow(source, enough=25)
            for worker in workers:
                worker.join()
        assert first >= 25
        print("the view counted 25 calls or a few more while the agents were working, then stopped")

    with inmem.open(folder / "agents.db") as source, inmem.open(folder / "view.db") as db:
        second = View(db).follow(source, timeout=0)
        assert first + second == len(AGENTS) * CALLS
        print("after both databases were reopened, it counted the rest")
        counts = View(db).counts()
        expected: dict[str, int] = {}
        for name in AGENTS:
            for trace in source.traces.query_by_type(name, "ToolCall"):
                call = f"{name}: {trace.kind.tool_name}"
                expected[call] = expected.get(call, 0) + 1
        assert counts == expected, "the view agrees with the store"
        print(f"{sum(counts.values())} calls by {len(AGENTS)} agents in total, each counted once")
        source.checkpoint()

    with inmem.open(folder / "agents.db") as source:
        try:
            source.watch(after_version=1)
        except WatchGapError:
            print("asking for changes that are no longer kept raises WatchGapError")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
