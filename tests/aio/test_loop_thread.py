"""The thread of an event loop runs no actor, does not use the disk, and waits for no lock of the store's."""

import asyncio
import contextlib
import threading

import pytest

import inmem
import inmem.aio
from inmem.aio import port
from tests.actors.stage import DISPATCHERS, FAILSAFE_S
from tests.aio.rig import WatchedDisk, store_on, witness

KEYS = 60


async def everything_that_waits(db):
    """All the ways to the store, several at a time, conflicts and cancellations included."""
    run = await db.begin_run()

    def increment(txn):
        txn.put("n", (txn.get("n") or 0) + 1)

    async def explicit(number):
        async with db.begin(run) as txn:
            txn.put(f"explicit {number}", number)
            await asyncio.sleep(0)

    async def given_up():
        txn = await db.begin(run)
        txn.put("never", 1)
        del txn

    async def follow():
        async for _ in watcher:
            pass

    watcher = db.watch(after_version=0, timeout=0.05)
    jobs = [db.kv.put(run, f"k{number}", number) for number in range(KEYS)]
    jobs += [db.events.append(run, "implicit", number) for number in range(KEYS)]
    jobs += [db.transaction(run, increment, retry=inmem.RetryPolicy(100)) for _ in range(10)]
    jobs += [explicit(1), given_up(), follow(), db.flush(), db.checkpoint()]
    jobs += [db.cells.transition_or_init(run, "c", 0, lambda state: (state.value + 1, None)) for _ in range(5)]
    tasks = [asyncio.ensure_future(job) for job in jobs]
    cancelled = [asyncio.ensure_future(db.kv.put(run, f"late{number}", number)) for number in range(20)]
    await asyncio.sleep(0)
    for task in cancelled:
        task.cancel()
    outcomes = await asyncio.gather(*cancelled, return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, (int, asyncio.CancelledError)) for outcome in outcomes)
    await asyncio.gather(*tasks)
    assert await db.kv.get(run, "k1") == 1
    assert await db.events.len(run) >= KEYS
    assert [event async for event in db.events.iter(run)]
    assert (await db.verify()).is_valid


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_the_loops_thread_never_waits_and_never_works_for_the_store(tmp_path, dispatcher, durability):
    async def main():
        loop_thread = threading.get_ident()
        disk = WatchedDisk(tmp_path / "db")
        async with store_on(disk, dispatcher=dispatcher, durability=durability, shards=2) as db:
            with witness(db.plain) as seen:
                await everything_that_waits(db)
            await db.close()
        assert sum(seen.ran.values()) > KEYS, "the witness saw something"
        assert disk.used.total() > 0
        assert loop_thread not in seen.ran
        assert loop_thread not in seen.waited
        assert loop_thread not in disk.used

    asyncio.run(main())


def test_the_plain_twins_of_the_proxies_are_no_way_around_it(tmp_path):
    async def main():
        async with store_on(WatchedDisk(tmp_path / "db")) as db:
            ways = [
                lambda: db.kv.plain.put("run", "k", 1),
                lambda: db.events.plain.append("run", "heard", 1),
                lambda: db.cells.plain.transition_or_init("run", "cell", 0, lambda state: (state.value, None)),
                lambda: db.traces.plain.record("run", inmem.Thought("hm")),
                lambda: db.runs.plain.create_run("run"),
            ]
            with witness(db.plain) as seen:
                for way in ways:
                    with pytest.raises(inmem.UsageError, match="waits for the store: in a coroutine await"):
                        way()
            assert not seen.ran
            assert await db.get("run", "k") is None

    asyncio.run(main())


def test_the_witness_would_have_seen_it(tmp_path):
    """The plain store in the same place: it runs its actors in the thread that asks."""

    async def main():
        disk = WatchedDisk(tmp_path / "db")
        async with store_on(disk) as db:
            with witness(db.plain) as seen:
                inmem.Database(db.plain.directory, owner=False).put("run", "k", 1)
        return seen

    seen = {}
    thread = threading.Thread(target=lambda: seen.update(witness=asyncio.run(main()), ident=threading.get_ident()))
    thread.start()
    thread.join()
    assert seen["ident"] in seen["witness"].ran


def test_letting_go_of_a_transaction_in_the_loop_sends_nothing_from_there(tmp_path):
    async def main():
        async with store_on(WatchedDisk(tmp_path / "db")) as db:
            with witness(db.plain) as seen:
                transactions = [await db.begin("run") for _ in range(20)]
                beginnings = [asyncio.ensure_future(begin(db)) for _ in range(20)]
                await asyncio.sleep(0)
                for task in beginnings:
                    task.cancel()
                await asyncio.gather(*beginnings, return_exceptions=True)
                del transactions, beginnings
                await db.flush()
                # Until it comes round for the next letters, the courier has the answers in hand that it asked for.
                await db.stats()
                assert (await db.stats()).active_transactions == 0
        assert threading.get_ident() not in seen.ran

    async def begin(db):
        return await db.begin("run")

    asyncio.run(main())


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_an_answer_that_could_not_wake_the_loop_keeps_no_other_from_waking_it(monkeypatch, dispatcher):
    """The store's thread had no room left on its stack, or was struck."""
    call_soon = port.call_soon
    left = ["once"]

    def no_room_once(loop, function):
        if left:
            left.clear()
            raise RecursionError
        call_soon(loop, function)

    async def main():
        async with inmem.aio.open(":memory:", dispatcher=dispatcher) as db:
            await db.put("run", "k", 0)
            monkeypatch.setattr(port, "call_soon", no_room_once)
            # It has committed, and may be answered later, or with the failure of the actor whose answer it was.
            with contextlib.suppress(inmem.TransactionAbortedError, inmem.CommitOutcomeUnknownError):
                await asyncio.wait_for(db.put("run", "k", 1), FAILSAFE_S)
            assert not left
            await asyncio.wait_for(db.put("run", "k", 2), FAILSAFE_S)
            assert await asyncio.wait_for(db.get("run", "k"), FAILSAFE_S) == 2

    asyncio.run(main())
