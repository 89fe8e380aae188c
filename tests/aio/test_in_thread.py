"""What takes its time does so in a worker thread, and to its end once it has begun; what is long lets others run."""

import asyncio
import contextlib
import threading

import pytest

import inmem
import inmem.aio
from inmem.aio import method
from inmem.aio.proxies import BATCH_SIZE
from tests.actors.faulty_disk import FAILSAFE_S
from tests.aio.rig import happens

WAYS = {
    "outcome": lambda db, folder: db.outcome("1-1"),
    "recover": lambda db, folder: db.recover(),
    "refresh": lambda db, folder: db.refresh(),
    "unregistered_runs": lambda db, folder: db.unregistered_runs(),
    "verify": lambda db, folder: db.verify(),
    "export_run": lambda db, folder: db.export_run("run", folder / "run.jsonl"),
    "import_run": lambda db, folder: db.import_run(folder / "none.jsonl"),
    "verify_chain": lambda db, folder: db.events.verify_chain("run"),
}


@pytest.mark.parametrize("name", WAYS)
def test_what_takes_its_time_runs_in_a_thread_and_to_its_end(tmp_path, monkeypatch, name):
    in_thread = method.run_in_thread
    arrived, gate = threading.Event(), threading.Event()
    ran = []

    async def watched(fn, *args, **kwargs):
        def work(*args, **kwargs):
            arrived.set()
            assert gate.wait(FAILSAFE_S)
            try:
                return fn(*args, **kwargs)
            finally:
                ran.append((fn.__name__, threading.get_ident()))

        return await in_thread(work, *args, **kwargs)

    async def main():
        async with inmem.aio.open(tmp_path / "db") as db:
            await db.events.append("run", "said", 1)
            with monkeypatch.context() as patch:
                patch.setattr(method, "run_in_thread", watched)
                task = asyncio.ensure_future(WAYS[name](db, tmp_path))
                await happens(arrived)
                for _ in range(3):
                    task.cancel()
                    await asyncio.sleep(0)
                assert not task.done(), "it goes on behind nobody's back"
                gate.set()
                with pytest.raises(asyncio.CancelledError):
                    await task
        [(what, thread)] = ran
        assert what == name
        assert thread != threading.get_ident()

    asyncio.run(main())


def test_a_long_log_lets_others_run():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            await db.events.append_many("run", [("said", number) for number in range(5 * BATCH_SIZE)])
            turns = 0

            async def others():
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            task = asyncio.ensure_future(others())
            seen = [turns async for _ in db.events.iter("run")]
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert len(seen) == 5 * BATCH_SIZE
            assert len(set(seen)) >= 5

    asyncio.run(main())
