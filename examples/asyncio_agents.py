"""Twenty agents in one event loop claim and finish tasks. Some are cancelled, yet no task is lost or done twice.

python examples/asyncio_agents.py
"""

import asyncio
import tempfile
from collections.abc import Callable

import inmem
import inmem.aio

TASKS = 60
BOARD = "board"


def claim(txn: inmem.BaseTransaction) -> str | None:
    """Claim the first open task. If two agents try to claim the same task, one gets a conflict and runs again."""
    for name in txn.cells.list("task-"):
        state = txn.cells.read(name)
        if state is not None and state.value == "open":
            txn.cells.cas(name, state.version, "claimed")
            return name
    return None


def finish(name: str, agent: str) -> Callable[[inmem.BaseTransaction], None]:
    """Return a transaction that marks the task done and appends the event about it, both or neither."""

    def done(txn: inmem.BaseTransaction) -> None:
        txn.cells.set(name, "done")
        txn.events.append("done", {"task": name, "agent": agent})

    return done


async def work(db: inmem.aio.Database, agent: str) -> None:
    retry = inmem.RetryPolicy(max_retries=1000)
    while (name := await db.transaction(BOARD, claim, retry=retry)) is not None:
        try:
            await asyncio.sleep(0)  # stands for a call to a model
            await db.transaction(BOARD, finish(name, agent), retry=retry)
        except asyncio.CancelledError:
            # A cancelled transaction has ended by now, committed or not; the cell tells which.
            state = await db.cells.read(BOARD, name)
            if state is not None and state.value == "claimed":
                await db.cells.cas(BOARD, name, state.version, "open")
            raise


async def main(path: str) -> None:
    async with inmem.aio.open(path) as db:
        await db.kv.put(BOARD, "title", "spring cleaning")
        await asyncio.gather(*(db.cells.init(BOARD, f"task-{number:02}", "open") for number in range(TASKS)))
        print(f"{await db.kv.get(BOARD, 'title')}: {len(await db.cells.list(BOARD, 'task-'))} tasks")

        agents = [asyncio.create_task(work(db, f"agent-{number}")) for number in range(20)]
        async for change in db.watch(BOARD, "events", after_version=0):
            if change.key == TASKS // 4:
                break
        for agent in agents[:10]:
            agent.cancel()
        results = await asyncio.gather(*agents, return_exceptions=True)
        cancelled = sum(isinstance(result, asyncio.CancelledError) for result in results)
        assert 0 < cancelled <= 10
        print("up to ten of the twenty agents were cancelled while working")

        # An agent cancelled while its claim was being committed leaves the task claimed: reopen such tasks.
        for name in await db.cells.list(BOARD, "task-"):
            await db.cells.transition(
                BOARD, name, lambda state: ("open" if state.value == "claimed" else state.value, None)
            )
        await work(db, "agent-20")

        done = [event.payload["task"] async for event in db.events.iter(BOARD)]
        assert sorted(done) == await db.cells.list(BOARD, "task-")
        print(f"{len(done)} tasks done: none lost, none done twice")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(f"{folder}/board.db"))
