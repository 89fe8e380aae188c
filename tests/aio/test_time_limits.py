"""A `timeout` counts from the call here too: also while the store takes its time to begin the transaction."""

import asyncio
import threading

import pytest

import inmem
import inmem.aio
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, open_on
from tests.actors.held_clock import HeldClock

SHORT_S = 0.02
"""How long the store is waited for in vain: it is held up for as long as that takes."""


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("form", ["transaction", "begin"])
def test_a_begin_that_is_not_answered_in_time_is_given_up_and_leaves_no_transaction(tmp_path, dispatcher, form):
    clock = HeldClock()

    async def write(db):
        if form == "transaction":
            await db.transaction("run", lambda txn: txn.put("k", "late"), timeout=SHORT_S)
        else:
            async with db.begin("run", timeout=SHORT_S) as txn:
                txn.put("k", "late")

    async def main(plain):
        db = await inmem.aio.connect(plain)
        with pytest.raises(inmem.TransactionTimeoutError, match="nothing was committed") as caught:
            await write(db)
        assert caught.value.timeout_s == SHORT_S
        clock.let_go()
        assert await db.get("run", "k") is None
        # What it answers too late is forgotten before its next answer, and told before the next request.
        await db.stats()
        assert (await db.stats()).active_transactions == 0

    with open_on(FaultyDisk(tmp_path / "db"), dispatcher=dispatcher, clock=clock) as plain:
        clock.hold()
        somebody = threading.Thread(target=lambda: plain.begin("elsewhere").abort(), daemon=True)
        somebody.start()
        assert clock.arrived.wait(FAILSAFE_S)
        try:
            asyncio.run(main(plain))
        finally:
            clock.let_go()
        somebody.join(FAILSAFE_S)
        assert plain.version == 0


def test_a_function_that_cannot_be_called_is_refused_by_name():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            with pytest.raises(
                inmem.UsageError, match="fn: must be a function that takes the transaction, not NoneType"
            ):
                await db.transaction("run", None)

    asyncio.run(main())
