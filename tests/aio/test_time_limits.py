"""The `timeout` of a transaction counts from the call here too, and leaves nothing behind; a conflict tells nobody."""

import asyncio

import pytest

import inmem
import inmem.aio
from tests.actors.faulty_disk import FAILSAFE_S
from tests.actors.held_clock import HeldClock
from tests.aio.rig import WatchedDisk, happens, store_on

SHORT_S = 0.02
"""How long the store is waited for in vain: it is held up for as long as that takes."""


@pytest.fixture
def clock():
    return HeldClock()


@pytest.fixture
def disk(tmp_path):
    return WatchedDisk(tmp_path / "db")


async def active_transactions(db):
    return (await db.stats()).active_transactions


async def by_transaction(db, within_s):
    await db.transaction("run", lambda txn: txn.put("k", "late"), timeout=within_s)


async def by_begin(db, within_s):
    async with db.begin("run", timeout=within_s) as txn:
        txn.put("k", "late")


BOTH = pytest.mark.parametrize("write", [by_transaction, by_begin])
DISPATCHERS = pytest.mark.parametrize("dispatcher", ["caller", "threads"])


@BOTH
@DISPATCHERS
def test_a_begin_that_is_not_answered_in_time_is_given_up_and_leaves_no_transaction(disk, clock, dispatcher, write):
    async def main():
        async with store_on(disk, clock=clock, dispatcher=dispatcher) as db:
            clock.hold()
            somebody = asyncio.ensure_future(by_begin(db, None))
            await happens(clock.arrived)
            with pytest.raises(inmem.TransactionTimeoutError, match="nothing was committed") as caught:
                await write(db, SHORT_S)
            assert caught.value.timeout_s == SHORT_S
            assert not somebody.done(), "it did not have to wait for the store"
            clock.let_go()
            await somebody
            # Also while somebody keeps the exception, and with it all that its traceback holds.
            assert await active_transactions(db) == 0
            assert caught.value.__context__ is None
            assert db.version == 1

    asyncio.run(main())


@BOTH
def test_so_it_is_behind_a_write_that_waits_for_the_disk(disk, write):
    async def main():
        async with store_on(disk) as db:
            # The log has begun then: who makes a new file of it waits for the disk in another thread.
            await db.put("elsewhere", "k", 0)
            gate = disk.gate("append")
            writer = asyncio.ensure_future(db.put("elsewhere", "k", 1))
            await happens(gate.arrived)
            done_before = len(disk.history)
            with pytest.raises(inmem.TransactionTimeoutError):
                await write(db, SHORT_S)
            assert len(disk.history) == done_before, "it did not have to wait for the disk"
            gate.open()
            assert await writer == 2
            assert await active_transactions(db) == 0
            assert (await db.get("run", "k"), db.version) == (None, 2)

    asyncio.run(main())


@BOTH
def test_the_time_that_the_store_takes_to_begin_is_counted(disk, clock, write):
    async def main():
        async with store_on(disk, clock=clock) as db:
            clock.costs_s = FAILSAFE_S
            with pytest.raises(inmem.TransactionTimeoutError) as caught:
                await write(db, FAILSAFE_S)
            assert caught.value.timeout_s == FAILSAFE_S
            assert await active_transactions(db) == 0
            assert await db.get("run", "k") is None

    asyncio.run(main())


def test_a_function_is_not_called_when_its_time_was_over_before(disk, clock):
    async def main():
        async with store_on(disk, clock=clock) as db:
            clock.costs_s = FAILSAFE_S
            calls = []
            with pytest.raises(inmem.TransactionTimeoutError):
                await db.transaction("run", calls.append, timeout=FAILSAFE_S)
            assert not calls

    asyncio.run(main())


@BOTH
def test_a_cancellation_while_the_store_is_waited_for_is_no_timeout(disk, clock, write):
    async def main():
        async with store_on(disk, clock=clock) as db:
            clock.hold()
            somebody = asyncio.ensure_future(by_begin(db, None))
            await happens(clock.arrived)
            # It is through when the store has answered, and has ended what that had begun.
            asyncio.get_running_loop().call_later(2 * SHORT_S, clock.let_go)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(SHORT_S):
                    await write(db, FAILSAFE_S)
            await somebody
            assert await active_transactions(db) == 0

    asyncio.run(main())


def test_a_transaction_that_has_lost_does_not_run_any_more(disk):
    async def main():
        async with store_on(disk) as db:
            txn = await db.begin("run")
            txn.put("k", txn.get("k"))
            await db.put("run", "k", 1)
            with pytest.raises(inmem.ConflictError):
                await txn.commit()
            assert await active_transactions(db) == 0

    asyncio.run(main())


def test_a_commit_that_never_reached_the_coordinator_has_ended(disk):
    async def main():
        async with store_on(disk) as db:
            other = await inmem.aio.connect(db.plain)
            txn = await other.begin("run")
            txn.put("k", 1)
            await other.close()
            with pytest.raises(inmem.DatabaseClosedError):
                await txn.commit()
            assert await active_transactions(db) == 0

    asyncio.run(main())


def test_a_function_that_cannot_be_called_is_refused_by_name():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            with pytest.raises(
                inmem.UsageError, match="fn: must be a function that takes the transaction, not NoneType"
            ):
                await db.transaction("run", None)
            await db.cells.init("run", "cell", 0)
            for name in ("cell", "new"):
                with pytest.raises(inmem.UsageError, match="fn: must be a function that takes the cell's State"):
                    await db.cells.transition("run", name, 5)
                with pytest.raises(inmem.UsageError, match="fn: must be a function that takes the cell's State"):
                    await db.cells.transition_or_init("run", name, 0, 5)
                with pytest.raises(inmem.InvalidValueError, match=r"^initial: set cannot be stored"):
                    await db.cells.transition_or_init("run", name, set(), lambda _: (1, None))
            with pytest.raises(inmem.UsageError, match="on_progress: must be a function that takes"):
                await db.events.verify_chain("run", 5)
            with pytest.raises(inmem.InvalidKeyError, match="parent id: must be a str, not NoneType"):
                await db.traces.record_child("run", None, inmem.Thought("x"))

    asyncio.run(main())
