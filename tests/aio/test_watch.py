"""`db.watch()` as an async iterator."""

import asyncio

import pytest

import inmem
import inmem.aio
from inmem.aio import watcher as aio_watcher
from inmem.engine import retained_commits


def test_a_task_follows_what_others_write():
    async def main():
        async with inmem.aio.open(":memory:") as db:

            async def follow():
                seen = []
                async for change in db.watch(run="run", primitive="kv"):
                    seen.append(change.value)
                    if len(seen) == 200:
                        break
                return seen

            followers = [asyncio.ensure_future(follow()) for _ in range(3)]
            await asyncio.sleep(0)
            for number in range(200):
                await db.put("run", f"k{number}", number)
                await db.put("other", "k", number)
            assert await asyncio.gather(*followers) == [list(range(200))] * 3

    asyncio.run(main())


def test_a_cancelled_wait_loses_nothing():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            watcher = db.watch()
            for number in range(5):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await anext(watcher)
                await db.put("run", "k", number)
                assert (await anext(watcher)).value == number
            assert watcher.version == db.version
            assert not db._client.published.feed._waiting

    asyncio.run(main())


def test_two_tasks_at_one_watcher_are_told_so():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            watcher = db.watch()

            async def follow():
                return [change.value async for change in watcher]

            first = asyncio.ensure_future(follow())
            await asyncio.sleep(0)
            for _ in range(2):
                with pytest.raises(RuntimeError, match="being iterated by another task: each needs a watcher of its"):
                    await anext(watcher)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            # It is free again, and ends for the one who has it.
            second = asyncio.ensure_future(follow())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task"):
                await anext(watcher)
            watcher.close()
            assert await second == []

    asyncio.run(main())


def test_it_ends_with_its_timeout_its_close_and_the_store():
    async def main():
        db = await inmem.aio.open(":memory:")
        watcher = db.watch(timeout=0.001)
        assert [change async for change in watcher] == []
        await db.put("run", "k", 1)
        assert [change.key async for change in watcher] == ["k"]

        async with db.watch() as closed:
            waiting = asyncio.ensure_future(anext(closed, None))
            await asyncio.sleep(0)
        assert await waiting is None
        assert repr(closed).endswith("closed>")

        async def follow():
            return [change.value async for change in db.watch()]

        task = asyncio.ensure_future(follow())
        await asyncio.sleep(0)
        for number in range(10):
            await db.put("run", "k", number)
        await db.close()
        assert await task == list(range(10))

    asyncio.run(main())


def test_a_handle_that_is_closed_ends_its_watchers_and_no_others():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            other = await inmem.aio.connect(db.plain)

            async def follow(handle):
                return [change.value async for change in handle.watch()]

            tasks = [asyncio.ensure_future(follow(handle)) for handle in (db, other)]
            await asyncio.sleep(0)
            await db.put("run", "k", 1)
            await other.close()
            assert await tasks[1] == [1]
            await db.put("run", "k", 2)
            assert not tasks[0].done()
        assert await tasks[0] == [1, 2]

    asyncio.run(main())


def test_whoever_is_too_slow_is_told_so(monkeypatch):
    monkeypatch.setattr(retained_commits, "RETAINED_BYTES_MAX", 2_000)

    async def main():
        async with inmem.aio.open(":memory:") as db:
            watcher = db.watch()
            for number in range(50):
                await db.put("run", "k", number)
            with pytest.raises(inmem.WatchLaggedError) as caught:
                await anext(watcher)
            assert [change.value async for change in db.watch(after_version=caught.value.since, timeout=0)][-1] == 49
            with pytest.raises(inmem.WatchGapError):
                db.watch(after_version=0)

    asyncio.run(main())


def test_a_long_backlog_does_not_keep_the_loop_to_itself():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            await asyncio.gather(*(db.put("run", f"k{number}", number) for number in range(1000)))
            turns = 0

            async def others():
                nonlocal turns
                while True:
                    await asyncio.sleep(0)
                    turns += 1

            task = asyncio.ensure_future(others())
            seen = [change.key async for change in db.watch(after_version=0, timeout=0)]
            assert len(seen) == 1000
            assert turns >= 1000 // aio_watcher.CHANGES_IN_A_ROW - 1
            # Nor does one that concerns nobody.
            before = turns
            for _ in range(300):
                await db.put("run", "k", 1)
            turns = 0
            assert [change async for change in db.watch(run="nobody", after_version=0, timeout=0)] == []
            assert turns > 0
            assert before
            task.cancel()

    asyncio.run(main())
