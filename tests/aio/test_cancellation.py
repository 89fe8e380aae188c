"""When an await ends, what was awaited has ended: committed whole, or not at all, with nothing left behind."""

import asyncio

import pytest

import inmem
import inmem.aio
from inmem import TransactionStatus
from inmem.actors.messages.transactions import Committed
from inmem.aio import port
from tests.actors.faulty_disk import FAILSAFE_S, open_on
from tests.aio.rig import WatchedDisk, happens, let_pass, store_on, until


@pytest.fixture
def disk(tmp_path):
    return WatchedDisk(tmp_path / "db")


async def nothing_is_left(db):
    stats = await db.stats()
    assert (stats.active_transactions, stats.in_flight) == (0, 0)
    assert db._client.port._under_way == 0
    assert not db._client.port._waiting


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_commit_that_has_gone_to_the_log_is_seen_through(disk, how):
    """It was too late: the commit stands, and the caller can tell, once the await has ended."""

    async def main():
        async with store_on(disk) as db:
            gate = disk.gate("sync")
            transactions, limits = [], []

            def book(txn):
                transactions.append(txn)
                txn.put("seat", "12A")

            async def booking():
                async with asyncio.timeout(None) as limit:
                    limits.append(limit)
                    await db.transaction("run", book)

            task = asyncio.ensure_future(booking())
            await happens(gate.arrived)
            if how == "timeout":
                limits[0].reschedule(asyncio.get_running_loop().time())
            for _ in range(3):
                # However often: it does not end before the outcome is known.
                if how == "cancel":
                    task.cancel()
                await asyncio.sleep(0.02)
                assert not task.done()
            gate.open()
            with pytest.raises(asyncio.CancelledError if how == "cancel" else TimeoutError):
                await task
            [txn] = transactions
            assert txn.status is TransactionStatus.COMMITTED
            assert await db.get("run", "seat") == "12A"
            await nothing_is_left(db)

    asyncio.run(main())


@pytest.mark.parametrize("strikes", [1, 3])
@pytest.mark.parametrize("first", ["cancellation", "answer"])
def test_a_cancellation_and_the_answer_come_in_the_same_turn_of_the_loop(tmp_path, monkeypatch, first, strikes):
    """The task has not heard of the one when the other comes: a commit that stood was taken for one that did not."""

    async def main():
        async with inmem.aio.open(tmp_path / "db") as db:
            settle = port.Answer.settle

            def at_once(answer, value, error):
                if type(value) is not Committed:
                    settle(answer, value, error)
                    return
                if first == "answer":
                    settle(answer, value, error)
                for _ in range(strikes):
                    task.cancel()
                if first == "cancellation":
                    settle(answer, value, error)

            monkeypatch.setattr(port.Answer, "settle", at_once)

            async def book():
                async with db.begin("run") as txn:
                    transactions.append(txn)
                    txn.put("seat", "12A")

            transactions = []
            task = asyncio.ensure_future(book())
            with pytest.raises(asyncio.CancelledError):
                await task
            [txn] = transactions
            assert txn.status is TransactionStatus.COMMITTED
            assert await db.get("run", "seat") == "12A"
            await nothing_is_left(db)

    asyncio.run(main())


@pytest.mark.parametrize("how", ["cancel", "timeout", "timeout of the store's"])
def test_a_commit_that_has_not_gone_to_the_log_is_withdrawn(disk, how, monkeypatch):
    async def main():
        async with store_on(disk) as db:
            await db.put("run", "seat", None)
            gate = disk.gate("sync")
            winner = asyncio.ensure_future(db.put("run", "seat", "1C"))
            await happens(gate.arrived)
            # This one touches the same key, so it waits for the winner to be decided.
            txn = await db.begin("run", timeout=FAILSAFE_S if how == "timeout of the store's" else None)
            txn.put("seat", "12A")
            let_pass(monkeypatch, db, FAILSAFE_S - 0.01)
            task = asyncio.ensure_future(txn.commit())
            # On a busy machine the store's time may be over before the commit is sent.
            await until(lambda: db._client.port._under_way == 2 or task.done())
            if how == "cancel":
                task.cancel()
            with pytest.raises((asyncio.CancelledError, TimeoutError, inmem.TransactionTimeoutError)) as caught:
                await asyncio.wait_for(task, 0.01 if how == "timeout" else None)
            assert (caught.type is inmem.TransactionTimeoutError) == (how == "timeout of the store's")
            assert not winner.done(), "it did not have to wait for the disk"
            assert txn.status is TransactionStatus.ABORTED
            gate.open()
            await winner
            assert await db.get("run", "seat") == "1C"
            await nothing_is_left(db)

    asyncio.run(main())


def test_a_cancelled_function_aborts_its_transaction_and_lets_go_of_its_snapshot(disk):
    async def main():
        async with store_on(disk) as db:
            inside = asyncio.Event()

            async def thinking(txn):
                txn.put("k", 1)
                inside.set()
                await asyncio.Event().wait()

            async def explicit():
                async with db.begin("run") as txn:
                    await thinking(txn)

            for work in (db.transaction("run", thinking), explicit()):
                inside.clear()
                task = asyncio.ensure_future(work)
                await inside.wait()
                assert (await db.stats()).active_transactions == 1
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await db.get("run", "k") is None
                await nothing_is_left(db)

    asyncio.run(main())


def test_of_a_cancelled_begin_no_transaction_is_left(tmp_path):
    """However far it has come: not sent, with the store, or answered."""

    async def main():
        async with inmem.aio.open(":memory:") as db:
            for turns in [*range(6)] * 20:
                beginning = asyncio.ensure_future(db._client.begin_transaction("run"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                beginning.cancel()
                try:
                    await beginning
                except asyncio.CancelledError:
                    pass
                else:
                    beginning.result().abort()
                await nothing_is_left(db)

    asyncio.run(main())


def test_a_cancelled_request_that_waits_for_room_never_happens(disk, monkeypatch):
    monkeypatch.setattr(port, "REQUESTS_UNDER_WAY_MAX", 2)

    async def main():
        async with store_on(disk) as db:
            gate = disk.gate("sync")
            tasks = [asyncio.ensure_future(db.kv.put("run", f"k{number}", number)) for number in range(6)]
            late = await_commit(db, "late")
            await happens(gate.arrived)
            assert len(db._client.port._waiting) == 5
            for task in (tasks[3], tasks[5], late):
                task.cancel()
            results = await asyncio.gather(tasks[3], tasks[5], late, return_exceptions=True)
            assert [type(result) for result in results] == [asyncio.CancelledError] * 3, "at once"
            gate.open()
            await asyncio.gather(*tasks[:3], tasks[4])
            assert await db.kv.list("run") == ["k0", "k1", "k2", "k4"]
            await nothing_is_left(db)

    def await_commit(db, key):
        return asyncio.ensure_future(db.transaction("run", lambda txn: txn.put(key, 1)))

    asyncio.run(main())


def test_whoever_was_cancelled_while_waiting_makes_room_for_others(disk, monkeypatch):
    monkeypatch.setattr(port, "REQUESTS_UNDER_WAY_MAX", 1)
    monkeypatch.setattr(port, "REQUESTS_WAITING_MAX", 1)

    async def main():
        async with store_on(disk) as db:
            late = await db.begin("run")
            late.put("late", 1)
            gate = disk.gate("sync")
            first = asyncio.ensure_future(db.put("run", "first", 1))
            await happens(gate.arrived)
            tasks = []
            for work in (db.put("run", "k", 1), late.commit(), db.flush(), db.put("run", "k", 2)):
                tasks.append(asyncio.ensure_future(work))
                await asyncio.sleep(0)
                tasks[-1].cancel()
                await asyncio.wait(tasks)
            gate.open()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [asyncio.CancelledError] * 4
            await first
            assert await db.kv.list("run") == ["first"]
            await nothing_is_left(db)

    asyncio.run(main())


def test_a_commit_that_waits_for_room_can_be_withdrawn(disk, monkeypatch):
    monkeypatch.setattr(port, "REQUESTS_UNDER_WAY_MAX", 2)

    async def main():
        async with store_on(disk) as db:
            one, other = await db.begin("run"), await db.begin("run", timeout=FAILSAFE_S)
            one.put("a", 1)
            other.put("b", 1)
            let_pass(monkeypatch, db, FAILSAFE_S - 0.05)
            gate = disk.gate("sync")
            fillers = [asyncio.ensure_future(db.kv.put("run", f"k{number}", 1)) for number in range(2)]
            await happens(gate.arrived)
            commits = [asyncio.ensure_future(txn.commit()) for txn in (one, other)]
            # On a busy machine the time of the other one may be over before it has come to wait.
            await until(lambda: len(db._client.port._waiting) == 2 or commits[1].done())
            commits[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await commits[0]
            with pytest.raises(inmem.TransactionTimeoutError):
                await commits[1]
            assert one.status is other.status is TransactionStatus.ABORTED
            gate.open()
            await asyncio.gather(*fillers)
            assert await db.kv.list("run") == ["k0", "k1"]
            await nothing_is_left(db)

    asyncio.run(main())


def test_a_cancelled_put_has_happened_or_not_when_its_await_ends(disk):
    async def main():
        async with store_on(disk) as db:
            gate = disk.gate("sync")
            task = asyncio.ensure_future(db.kv.put("run", "k", 1))
            await happens(gate.arrived)
            task.cancel()
            await asyncio.sleep(0.01)
            assert not task.done()
            gate.open()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await db.get("run", "k") == 1

    asyncio.run(main())


def test_what_changes_nothing_is_not_waited_for(disk):
    async def main():
        async with store_on(disk, durability="never") as db:
            await db.put("run", "k", 1)
            gate = disk.gate("sync")
            task = asyncio.ensure_future(db.flush())
            await happens(gate.arrived)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.open()
            await db.flush()
            await nothing_is_left(db)

    asyncio.run(main())


def test_of_a_commit_that_is_dropped_nobody_says_that_it_was_aborted(disk):
    async def main():
        async with store_on(disk) as db:
            gate = disk.gate("sync")
            txn = await db.begin("run")
            txn.put("k", 1)
            commit = txn.commit()
            commit.send(None)
            await happens(gate.arrived)
            commit.close()
            assert txn.status is TransactionStatus.VALIDATING
            gate.open()
            await db.put("run", "next", 1)
            assert await db.get("run", "k") == 1
            with pytest.raises(inmem.TransactionClosedError):
                await txn.commit()
            del txn, commit
            await nothing_is_left(db)

    asyncio.run(main())


def test_an_unknown_outcome_stays_unknown_and_says_so(disk):
    """The disk fails for good in the middle of a commit: whoever is cancelled then can still ask by the token."""

    async def main():
        async with store_on(disk) as db:
            await db.put("run", "k", 1)
            gate = disk.gate("sync")
            disk.fail("sync", forever=True)
            disk.fail("create", forever=True)
            txn = await db.begin("run")
            txn.put("k", 2)
            task = asyncio.ensure_future(txn.commit())
            await happens(gate.arrived)
            task.cancel()
            gate.open()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            error = caught.value.__cause__
            assert isinstance(error, inmem.CommitOutcomeUnknownError)
            assert txn.status is TransactionStatus.VALIDATING
            with pytest.raises(inmem.TransactionClosedError):
                txn.abort()
            disk.repair()
            await db.recover()
            outcome = await db.outcome(error.token)
            assert (outcome is TransactionStatus.COMMITTED) == (await db.get("run", "k") == 2)

    asyncio.run(main())


def test_a_cancelled_opening_leaves_nothing_open(tmp_path, monkeypatch):
    async def main():
        task = asyncio.ensure_future(opening())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with inmem.aio.open(tmp_path / "db") as db:
            await db.put("run", "k", 1)

    async def opening():
        return await inmem.aio.open(tmp_path / "db")

    asyncio.run(main())


async def opened_on(disk):
    """Open a store whose close has something to make durable; return a handle whose close is that of the store."""
    plain = await asyncio.to_thread(open_on, disk, durability="never")
    db = await asyncio.to_thread(inmem.aio.Database, plain)
    await db.put("run", "k", 1)
    return db


async def leave(db):
    """Leave a block that was entered while the database was open."""
    await db.__aexit__(None, None, None)


@pytest.mark.parametrize("close", [inmem.aio.Database.close, leave], ids=["close", "async with"])
def test_whoever_closes_while_another_task_does_so_waits_for_the_same_end(disk, close):
    async def main():
        db = await opened_on(disk)
        gate = disk.gate("sync")
        tasks = [asyncio.ensure_future(close(db)) for _ in range(4)]
        await happens(gate.arrived)
        tasks[0].cancel()
        tasks[1].cancel()
        done, _ = await asyncio.wait(tasks, timeout=0.02)
        assert not done
        gate.open()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 2 + [type(None)] * 2
        await asyncio.to_thread(lambda: inmem.open(disk.path).close())
        await close(db)

    asyncio.run(main())


@pytest.mark.parametrize("close", [inmem.aio.Database.close, leave], ids=["close", "async with"])
def test_everybody_who_closes_learns_that_it_failed(disk, close):
    async def main():
        db = await opened_on(disk)
        gate = disk.gate("sync")
        disk.fail("sync", forever=True)
        tasks = [asyncio.ensure_future(close(db)) for _ in range(3)]
        await until(gate.arrived.is_set)
        tasks[0].cancel()
        gate.open()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await tasks[0]
        errors = [cancelled.value.__cause__, *await asyncio.gather(*tasks[1:], return_exceptions=True)]
        for error in errors:
            assert isinstance(error, inmem.StorageError)
            assert "durable" in str(error)
        assert len({*map(id, errors)}) == 3, "each has one of his own, with his own traceback"
        await close(db)

    asyncio.run(main())


def test_a_close_that_failed_can_be_tried_again(disk, monkeypatch):
    def fail():
        raise RuntimeError("injected")

    async def main():
        db = await opened_on(disk)
        with monkeypatch.context() as patch:
            patch.setattr(disk, "close", fail)
            with pytest.raises(inmem.StoreFailedError, match="supervisor"):
                await db.close()
        await db.close()
        with inmem.open(disk.path) as again:
            assert again.get("run", "k") == 1

    asyncio.run(main())


def test_a_cancelled_close_closes(tmp_path):
    async def main():
        db = await inmem.aio.open(tmp_path / "db")
        await db.put("run", "k", 1)
        task = asyncio.ensure_future(db.close())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with inmem.open(tmp_path / "db") as again:
            assert again.get("run", "k") == 1

    asyncio.run(main())
