"""The names of `inmem`, as coroutines: the same operations, arguments, results and errors."""

import asyncio
import copy
import inspect
import itertools
import pickle
import re
import threading

import pytest

import inmem
import inmem.aio
from inmem import RunStatus, Thought, TransactionStatus
from tests.actors.stage import FAILSAFE_S

PROXIES = {
    inmem.aio.KVStore: inmem.KVStore,
    inmem.aio.EventLog: inmem.EventLog,
    inmem.aio.StateCell: inmem.StateCell,
    inmem.aio.TraceStore: inmem.TraceStore,
    inmem.aio.RunIndex: inmem.RunIndex,
    inmem.aio.Database: inmem.Database,
    inmem.aio.Watcher: inmem.Watcher,
    inmem.aio.Transaction: inmem.Transaction,
}
# A dict that waits would have to be another kind of dict. Who builds on the plain handle has it. The last is for the
# package alone.
PLAIN_ONLY = {(inmem.KVStore, "mapping"), (inmem.Database, "directory"), (inmem.Transaction, "commit_and_keep")}
AT_ONCE = {"begin", "watch", "iter", "close"}
"""Methods that are no coroutines: they return what is awaited or iterated over, or never wait."""


def methods_of(kind):
    return {name: value for name, value in inspect.getmembers(kind) if not name.startswith("_")}


@pytest.mark.parametrize("kind", PROXIES, ids=lambda kind: kind.__name__)
def test_it_has_the_same_names_with_the_same_arguments(kind):
    plain = PROXIES[kind]
    for name, value in methods_of(plain).items():
        if (plain, name) in PLAIN_ONLY:
            continue
        own = methods_of(kind)[name]
        if not callable(value):
            assert type(own) is type(value), name
            continue
        parameters, own_parameters = (inspect.signature(each).parameters for each in (value, own))
        assert list(parameters) == list(own_parameters), name
        for parameter, own_parameter in zip(parameters.values(), own_parameters.values(), strict=True):
            assert parameter.kind == own_parameter.kind, name
            if name != "iter":
                assert parameter.default == own_parameter.default, name
        assert own.__doc__
        if kind not in (inmem.aio.Transaction, inmem.aio.Watcher):
            assert inspect.iscoroutinefunction(own) == (name not in AT_ONCE or name == "close"), name


def test_who_looks_for_the_mapping_is_told_where_it_is():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            with pytest.raises(AttributeError, match=r"use its coroutines, or `db\.plain\.kv\.mapping\(run\)`"):
                db.kv.mapping("run")
            with pytest.raises(AttributeError, match=r"^'KVStore' object has no attribute 'puts'"):
                db.kv.puts("run")
            assert not hasattr(db.kv, "mapping")

    asyncio.run(main())


def test_a_begin_needs_no_task():
    async def begin(db):
        return await db.begin("run")

    async def main():
        async with inmem.aio.open(":memory:") as db:
            # As a framework may that takes steps of its own.
            steps = begin(db)
            begun = asyncio.get_running_loop().create_future()

            def take_a_step(_=None):
                try:
                    waits_for = steps.send(None)
                except StopIteration as end:
                    begun.set_result(end.value)
                except RuntimeError as error:
                    begun.set_exception(error)
                else:
                    waits_for._asyncio_future_blocking = False
                    waits_for.add_done_callback(take_a_step)

            asyncio.get_running_loop().call_soon(take_a_step)
            txn = await begun
            txn.put("k", 1)
            await txn.commit()
            assert await db.get("run", "k") == 1

    asyncio.run(main())


def test_options_of_open_are_the_same():
    assert inspect.signature(inmem.aio.open).parameters == inspect.signature(inmem.open).parameters


def test_everything_once(tmp_path):
    async def main():
        async with inmem.aio.open(tmp_path / "db") as db:
            run = await db.begin_run(tags=["trip"])
            assert await db.put(run, "a", 1) == await db.kv.put(run, "b", [2]) - 1
            assert (await db.get(run, "a"), await db.kv.get(run, "b")) == (1, [2])
            versioned = await db.get_versioned(run, "a")
            assert await db.cas(run, "a", versioned.version, 3) == db.version
            assert await db.kv.cas(run, "a", db.version, 4) == db.version
            assert await db.kv.get_many(run, ["a", "b", "c"]) == {"a": 4, "b": [2]}
            assert await db.kv.list(run) == ["a", "b"]
            assert await db.kv.list_with_values(run, "b") == [("b", [2])]
            assert (await db.kv.exists(run, "a"), await db.delete(run, "a"), await db.kv.delete(run, "a")) == (1, 1, 0)

            assert [(await db.events.append(run, "said", number)).sequence for number in range(3)] == [0, 1, 2]
            assert len(await db.events.append_many(run, [("said", 3), ("heard", 4)])) == 2
            assert (await db.events.head(run)).payload == 4
            assert (await db.events.len(run), (await db.events.read(run, 1)).payload) == (5, 1)
            assert [event.payload for event in await db.events.read_range(run, 1, 3)] == [1, 2]
            assert [event.payload for event in await db.events.tail(run, 2)] == [3, 4]
            assert [event.payload for event in await db.events.read_by_type(run, "heard")] == [4]
            assert [event.payload async for event in db.events.iter(run, 1, batch_size=2)] == [1, 2, 3, 4]
            assert (await db.events.verify_chain(run)).is_valid
            assert await db.events.types(run) == ["heard", "said"]

            assert await db.cells.init(run, "phase", "a") == 1
            assert await db.cells.cas(run, "phase", 1, "b") == 2
            assert await db.cells.set(run, "phase", "c") == 3
            assert (await db.cells.read(run, "phase")).value == "c"
            assert await db.cells.transition(run, "phase", lambda state: (state.value + "!", state.version)) == 3
            assert await db.cells.transition_or_init(run, "n", 0, lambda state: (state.value + 1, "new")) == "new"
            assert await db.cells.list(run) == ["n", "phase"]
            assert (await db.cells.exists(run, "n"), await db.cells.delete(run, "n")) == (True, True)

            root = await db.traces.record(run, Thought("first"))
            child = await db.traces.record_child(run, root.id, Thought("second"))
            tagged = await db.traces.record_with_options(run, Thought("third"), id="mine", tags=["t"])
            assert await db.traces.get(run, child.id) == child
            assert await db.traces.get_children(run, root.id) == [child]
            assert (await db.traces.get_tree(run, root.id)).children[0].root == child
            assert await db.traces.query_by_tag(run, "t") == [tagged]
            assert len(await db.traces.query_by_type(run, "Thought")) == await db.traces.count(run) == 3
            assert await db.traces.query_by_time(run, root.timestamp, root.timestamp + 1) == [root]
            assert await db.traces.roots(run) == [root, tagged]
            assert await db.traces.list(run) == [root.id, child.id, "mine"]

            other = await db.runs.create_run("other", parent=run)
            assert await db.runs.get_child_runs(run) == [other]
            assert (await db.runs.pause_run("other")).status is RunStatus.PAUSED
            assert (await db.runs.resume_run("other")).status is RunStatus.ACTIVE
            assert (await db.runs.update_status("other", "Failed")).status is RunStatus.FAILED
            assert (await db.runs.archive_run("other")).status is RunStatus.ARCHIVED
            assert (await db.runs.add_tags(run, ["late"])).tags == ("trip", "late")
            assert (await db.runs.update_metadata(run, {"k": 1})).metadata == {"k": 1}
            assert await db.runs.list_runs() == [run]
            assert [found.run_id for found in await db.runs.query_runs(tags=["late"])] == [run]
            assert (await db.runs.remove_tags(run, ["late", "never"])).tags == ("trip",)
            assert (await db.runs.get_stats()).total_runs == 2
            await db.runs.delete_run("other")
            assert await db.runs.get_run("other") is None
            for ending in (db.runs.complete_run, lambda one: db.runs.fail_run(one, "why"), db.runs.cancel_run):
                await ending(await db.begin_run())
            await db.end_run(run)

            await db.flush()
            assert await db.checkpoint() == db.version
            assert (await db.verify()).is_valid
            assert (await db.stats()).version == db.version
            await db.recover()
            await db.put("unknown", "k", 1)
            assert await db.unregistered_runs() == ["unknown"]
            await db.export_run(run, tmp_path / "run.jsonl")
            async with inmem.aio.open(":memory:") as elsewhere:
                assert (await elsewhere.import_run(tmp_path / "run.jsonl")).run_id == run
                assert await elsewhere.kv.get(run, "b") == [2]
            assert db.path == str(tmp_path / "db")
            with pytest.raises(inmem.UsageError):
                await db.outcome("no token")
        assert repr(db).endswith(", closed>")
        with pytest.raises(inmem.DatabaseClosedError):
            async with db:
                pytest.fail("the block is run")

    asyncio.run(main())


def test_errors_are_those_of_the_plain_operations():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            with pytest.raises(inmem.InvalidValueError):
                await db.kv.put("run", "k", object())
            with pytest.raises(inmem.InvalidKeyError):
                await db.kv.get("", "k")
            with pytest.raises(inmem.CellNotFoundError):
                await db.cells.cas("run", "none", 1, 1)
            await db.cells.init("run", "c", 1)
            with pytest.raises(inmem.CasConflictError) as caught:
                await db.cells.cas("run", "c", 5, 1)
            assert (caught.value.expected, caught.value.actual) == (5, 1)
            with pytest.raises(inmem.UsageError):
                db.events.iter("run", batch_size=0)
        with pytest.raises(inmem.DatabaseClosedError):
            await db.kv.put("run", "k", 1)
        with pytest.raises(inmem.DatabaseClosedError):
            await db.kv.get("run", "k")
        with pytest.raises(inmem.DatabaseClosedError):
            await db.begin("run")
        await db.close()
        with pytest.raises(inmem.DatabaseNotFoundError):
            await inmem.aio.open("no/such/folder", create=False)

    asyncio.run(main())


def test_what_takes_async_with_or_async_for_says_so():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            for call, pending in (("open", inmem.aio.open(":memory:")), ("begin", db.begin("run"))):
                with pytest.raises(TypeError, match=f"what {call} returns takes `async with`, not `with`"), pending:
                    pass
            with pytest.raises(TypeError, match="takes `async for`, not `for`"):
                list(db.watch())
            with pytest.raises(inmem.UsageError, match="fn: must be a plain function"):
                await db.cells.transition_or_init("run", "cell", 1, book_slowly)

    async def book_slowly(state):
        return state.value, None

    asyncio.run(main())


def test_a_transaction_of_a_plain_and_of_an_async_function():
    def book(txn: inmem.BaseTransaction) -> str:
        txn.kv.put("seat", "12A")
        return str(txn.events.append("booked").sequence)

    async def slowly(txn: inmem.aio.Transaction) -> object:
        seat = txn.get("seat")
        await asyncio.sleep(0)
        txn.on("other").kv.put("seat", seat)
        return seat

    async def main():
        async with inmem.aio.open(":memory:") as db:
            assert await db.transaction("run", book) == "0"
            assert await db.transaction("run", slowly) == "12A"
            assert await db.get("other", "seat") == "12A"
            with pytest.raises(ZeroDivisionError):
                await db.transaction("run", lambda txn: (txn.put("seat", None), 1 / 0))
            assert await db.get("run", "seat") == "12A"
            assert (await db.stats()).active_transactions == 0

    with inmem.open(":memory:") as plain:
        assert plain.transaction("run", book) == "0"
    asyncio.run(main())


def test_neither_a_transaction_nor_a_handle_is_copied_or_pickled(capsys):
    async def scenario():
        async with await inmem.aio.open(":memory:") as db, await db.begin("run") as txn:
            for handle, way in itertools.product(
                (txn, txn._lease, txn.kv, db, db.kv.plain, db.watch()), (copy.copy, copy.deepcopy, pickle.dumps)
            ):
                with pytest.raises(TypeError, match=f"^{re.escape(repr(handle))} cannot be copied or pickled$"):
                    way(handle)

    asyncio.run(scenario())
    assert capsys.readouterr().err == ""


def test_transactions_keep_to_the_limits_of_their_store():
    async def main():
        small = inmem.Limits(value_bytes_max=100, transaction_reads_max=1)
        async with inmem.aio.open(":memory:", limits=small) as db:
            with pytest.raises(inmem.InvalidValueError, match="larger than 100 bytes"):
                async with db.begin("run") as txn:
                    txn.put("k", b"x" * 200)
            txn = await db.begin("run")
            txn.kv.get_many(["a", "b"])
            txn.put("k", 1)
            with pytest.raises(inmem.UsageError, match="at most 1 are allowed"):
                await txn.__aexit__(None, None, None)
            assert txn.status == "aborted"
            assert (await db.stats()).active_transactions == 0
        large = inmem.Limits(value_bytes_max=32 << 20)
        async with inmem.aio.open(":memory:", limits=large) as db:
            async with db.begin("run") as txn:
                txn.put("k", b"x" * (17 << 20))
            assert len(await db.get("run", "k")) == 17 << 20

    asyncio.run(main())


def test_a_transaction_that_has_ended_is_not_entered():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            txn = await db.begin("run")
            txn.abort()
            with pytest.raises(inmem.TransactionClosedError):
                await txn.__aenter__()

    asyncio.run(main())


def test_without_writes_a_transaction_commits_however_late_and_not_on_a_closed_store():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            async with db.begin("run", timeout=0) as txn:
                txn.get("x")
            assert txn.status == "committed"
            with pytest.raises(inmem.TransactionTimeoutError):
                await db.transaction("run", lambda txn: txn.get("x"), timeout=0)
            left = await db.begin("run")
        with pytest.raises(inmem.DatabaseClosedError):
            await left.commit()

    asyncio.run(main())


def test_generator_functions_are_refused():
    def in_steps(txn):
        txn.put("x", 1)
        yield

    async def in_async_steps(txn):
        txn.put("x", 1)
        yield

    async def main():
        async with inmem.aio.open(":memory:") as db:
            for fn in (in_steps, in_async_steps):
                with pytest.raises(inmem.UsageError, match="fn: must not be a generator function"):
                    await db.transaction("run", fn)
            assert (await db.stats()).active_transactions == 0

    asyncio.run(main())


def test_the_explicit_form():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            async with db.begin("run") as txn:
                txn.put("a", 1)
                assert await db.get("run", "a") is None
            assert (txn.status, await db.get("run", "a")) == (TransactionStatus.COMMITTED, 1)
            with pytest.raises(ZeroDivisionError):
                async with db.begin("run") as txn:
                    txn.put("a", 1 / 0)
            assert txn.status is TransactionStatus.ABORTED
            txn = await db.begin("run", isolation="serializable")
            assert list(txn.scan()) == [("a", 1)]
            assert await txn.commit() == txn.start_version
            with pytest.raises(inmem.TransactionClosedError):
                await txn.commit()
            txn = await db.begin("run", timeout=0)
            txn.put("a", 2)
            with pytest.raises(inmem.TransactionTimeoutError):
                await txn.commit()
            async with db.begin("run") as txn:
                txn.abort()
                with pytest.raises(inmem.TransactionClosedError):
                    txn.abort()
            first, second = await db.begin("run"), await db.begin("run")
            first.put("a", first.get("a") + 1)
            second.put("a", second.get("a") + 1)
            await first.commit()
            with pytest.raises(inmem.ConflictError):
                await second.commit()
            assert (await db.stats()).active_transactions == 0

    asyncio.run(main())


def test_conflicts_are_retried_and_nothing_is_lost():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            attempts = 0

            async def increment(txn):
                nonlocal attempts
                attempts += 1
                value = txn.get("n") or 0
                await asyncio.sleep(0)
                txn.put("n", value + 1)

            retry = inmem.RetryPolicy(max_retries=1000, base_delay=0.0001, max_delay=0.002)
            await asyncio.gather(*(db.transaction("run", increment, retry=retry) for _ in range(40)))
            assert await db.get("run", "n") == 40
            assert attempts > 40
            with pytest.raises(inmem.RetriesExhaustedError):
                await db.transaction("run", always_losing(db), retry=inmem.RetryPolicy(max_retries=2, base_delay=0))
            with pytest.raises(inmem.TransactionTimeoutError):
                await db.transaction("run", always_losing(db), timeout=0.05, retry=inmem.RetryPolicy(10**6))
            with pytest.raises(inmem.UsageError):
                await db.transaction("run", increment, retry=3)

    def always_losing(db):
        async def lose(txn):
            txn.put("n", txn.get("n"))
            await db.put("run", "n", 0)

        return lose

    asyncio.run(main())


def test_each_transaction_takes_a_begin_of_its_own():
    """Entered a second time it forgot its first transaction, whose writes were dropped without a word."""

    async def main():
        async with inmem.aio.open(":memory:") as db:
            begun = db.begin("run")
            async with begun as txn:
                txn.put("a", 1)
                with pytest.raises(inmem.UsageError, match=r"^begin: was awaited or entered before"):
                    async with begun as other:
                        other.put("b", 1)
            assert (txn.status, await db.get("run", "a")) == (TransactionStatus.COMMITTED, 1)
            with pytest.raises(inmem.UsageError, match=r"^begin: was awaited or entered before"):
                await begun
            connecting = inmem.aio.connect(db.plain)
            await (await connecting).close()
            with pytest.raises(inmem.UsageError, match=r"^connect: was awaited or entered before"):
                async with connecting:
                    pass
            assert (await db.stats()).active_transactions == 0

    asyncio.run(main())


def test_connecting_to_something_else_says_what_it_takes():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            for other in (None, "agent.db", db):
                with pytest.raises(inmem.UsageError, match=r"^ref: must be what inmem\.spawn has returned"):
                    await inmem.aio.connect(other)

    asyncio.run(main())


def test_connecting_to_a_store_that_is_open_already():
    async def main(store):
        async with inmem.aio.connect(store) as db:
            await db.put("run", "k", 1)
        with pytest.raises(inmem.DatabaseClosedError):
            await db.get("run", "k")
        db = await inmem.aio.connect(store)
        assert await db.get("run", "k") == 1
        await db.close()

    with inmem.open(":memory:") as plain:
        asyncio.run(main(plain))
        assert plain.get("run", "k") == 1
    with pytest.raises(inmem.DatabaseClosedError):
        asyncio.run(main(plain))
    ref = inmem.spawn(":memory:")
    asyncio.run(main(ref))
    ref.stop()


def test_its_thread_ends_with_it():
    # Those of other tests may have a line to go.
    before = set(threading.enumerate())

    def couriers():
        return [thread for thread in {*threading.enumerate()} - before if thread.name == "inmem-courier"]

    async def main(store):
        async with inmem.aio.connect(store) as db:
            txn = await db.begin("run")
            [courier] = couriers()
        courier.join(FAILSAFE_S)
        assert not courier.is_alive()
        # What is left over is still said to the store: the transaction does not count as running for ever.
        del txn
        dropped = await inmem.aio.connect(store)
        await dropped.put("run", "k", 1)

    with inmem.open(":memory:") as plain:
        asyncio.run(main(plain))
        for courier in couriers():
            courier.join(FAILSAFE_S)
            assert not courier.is_alive(), "also when nobody has closed the handle"
        assert plain.stats().active_transactions == 0


def test_what_was_not_awaited_says_so():
    async def main():
        async with inmem.aio.open(":memory:") as db:
            with pytest.raises(AttributeError, match=r"`await` what begin returns, or use it with `async with`.*'put'"):
                db.begin("run").put("k", 1)
            assert not hasattr(db.begin("run"), "commit")
            assert not hasattr(copy.copy(db.begin("run")), "commit")

    asyncio.run(main())


@pytest.mark.parametrize("puts", [True, False])
def test_a_transaction_that_has_ended_keeps_no_old_state_alive(puts):
    async def story():
        async with inmem.aio.open(":memory:") as db:
            await db.put("run", "k", 0)
            async with db.begin("run") as txn:
                assert txn.get("k") == 0
                if puts:
                    txn.put("own", 1)
            assert txn.status == "committed"
            assert txn._engine.snapshot.version == 0
            assert not txn._kv._view.writes

    asyncio.run(story())
