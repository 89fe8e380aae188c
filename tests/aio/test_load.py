"""Many awaits at once, several loops, and loops that end in the middle of it."""

import asyncio
import threading

import pytest

import inmem
import inmem.aio
from inmem.aio import port
from tests.actors.faulty_disk import open_on
from tests.actors.stage import in_threads
from tests.aio.rig import WatchedDisk, happens, store_on

TEN_THOUSAND = 10_000


@pytest.mark.unmeasured
@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_ten_thousand_awaits_at_once(dispatcher):
    # The store itself would refuse most of them: an await waits for room instead.
    limits = inmem.Limits(waiting_requests_max=port.REQUESTS_UNDER_WAY_MAX)

    async def main():
        async with inmem.aio.open(":memory:", dispatcher=dispatcher, limits=limits) as db:
            most = 0

            async def append(number):
                nonlocal most
                event = await db.events.append("run", "said", number)
                most = max(most, db._client.port._under_way)
                return event

            events = await asyncio.gather(*map(append, range(TEN_THOUSAND)))
            assert [event.payload for event in events] == list(range(TEN_THOUSAND))
            assert [event.sequence for event in events] == list(range(TEN_THOUSAND)), "first come, first served"
            assert most <= port.REQUESTS_UNDER_WAY_MAX
            assert (await db.events.verify_chain("run")).is_valid
            assert db.version < TEN_THOUSAND / 10, "requests that wait together are committed together"

    asyncio.run(main())


def test_what_may_wait_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(port, "REQUESTS_UNDER_WAY_MAX", 2)
    monkeypatch.setattr(port, "REQUESTS_WAITING_MAX", 3)

    async def main():
        disk = WatchedDisk(tmp_path / "db")
        async with store_on(disk) as db:
            gate = disk.gate("sync")
            tasks = [asyncio.ensure_future(db.kv.put("run", f"k{number}", 1)) for number in range(7)]
            await happens(gate.arrived)
            gate.open()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [int] * 5 + [inmem.OverloadedError] * 2
            assert (results[5].limit, results[5].retryable) == (3, True)
            await db.put("run", "k", 1)

    asyncio.run(main())


def test_several_loops_in_several_threads_share_a_handle(tmp_path):
    opened = []
    ready, done = threading.Event(), threading.Event()

    def owner():
        async def main():
            async with inmem.aio.open(tmp_path / "db") as db:
                opened.append(db)
                ready.set()
                await happens(done)

        asyncio.run(main())

    def worker(name):
        async def increment(txn):
            value = txn.get("n") or 0
            await asyncio.sleep(0)
            txn.put("n", value + 1)

        async def main():
            db = opened[0]
            retry = inmem.RetryPolicy(max_retries=1000)
            await asyncio.gather(*(db.transaction("run", increment, retry=retry) for _ in range(5)))
            await asyncio.gather(*(db.kv.put(name, f"k{number}", number) for number in range(20)))
            return await db.kv.list(name)

        # Two loops, one after the other, in the same thread.
        return [asyncio.run(main()), asyncio.run(main())]

    thread = threading.Thread(target=owner)
    thread.start()
    ready.wait()
    try:
        for lists in in_threads(*(lambda n=n: worker(n) for n in "abc")):
            assert lists[0] == lists[1] == sorted(f"k{number}" for number in range(20))
        with inmem.connect(opened[0].plain.directory.supervisor) as plain:
            assert plain.get("run", "n") == 3 * 2 * 5
    finally:
        done.set()
        thread.join()


def test_a_loop_that_ends_sees_its_commits_through(tmp_path):
    """`asyncio.run` cancels what still runs and waits for it."""
    with inmem.open(tmp_path / "db") as plain:

        async def main():
            db = await inmem.aio.connect(plain)
            tasks = [asyncio.ensure_future(db.kv.put("run", f"k{number}", number)) for number in range(50)]
            await asyncio.sleep(0)
            return tasks

        tasks = asyncio.run(main())
        assert all(task.done() for task in tasks)
        before = plain.version
        plain.flush()
        assert plain.version == before, "nothing goes on behind its back"


def test_a_loop_that_is_closed_in_the_middle_harms_nobody(tmp_path):
    disk = WatchedDisk(tmp_path / "db")
    gate_arrived = []

    async def start():
        gate = disk.gate("sync")
        tasks = [asyncio.ensure_future(db.kv.put("run", f"k{number}", number)) for number in range(5)]
        txn = await db.begin("run")
        await happens(gate.arrived)
        gate_arrived.append(gate)
        return tasks, txn

    loop = asyncio.new_event_loop()
    plain = open_on(disk)
    db = inmem.aio.Database(inmem.Database(plain.directory, owner=False))
    tasks, txn = loop.run_until_complete(start())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    gate_arrived[0].open()
    plain.put("run", "after", 1)
    assert plain.get("run", "k0") == 0, "what had been sent is committed"
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task._log_destroy_pending = False
        task.get_coro().close()
    del txn

    async def go_on():
        assert await db.get("run", "after") == 1
        assert await db.put("run", "next", 1) == db.version

    asyncio.run(go_on())
    asyncio.run(db.close())
    assert plain.stats().active_transactions == 0
    plain.close()


def test_closing_answers_everybody():
    async def main():
        db = await inmem.aio.open(":memory:")
        tasks = [asyncio.ensure_future(db.kv.put("run", f"k{number}", number)) for number in range(3000)]
        await asyncio.sleep(0)
        await db.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} <= {int, inmem.DatabaseClosedError}
        assert any(type(result) is int for result in results)

    asyncio.run(main())


def test_a_store_that_is_stopped_by_others_says_so():
    async def main():
        ref = inmem.spawn(":memory:")
        db = await inmem.aio.connect(ref)
        await asyncio.to_thread(ref.stop)
        with pytest.raises(inmem.DatabaseClosedError):
            await db.put("run", "k", 1)
        with pytest.raises(inmem.DatabaseClosedError):
            await db.begin("run")
        await db.close()

    asyncio.run(main())
