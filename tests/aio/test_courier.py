"""The courier when the system has no thread left."""

import asyncio
import gc
import subprocess
import sys
import threading

import pytest

import inmem
import inmem.aio
from inmem.actors.client.courier import Courier
from tests.actors.stage import DISPATCHERS, FAILSAFE_S, Stage


def test_what_no_thread_could_be_started_for_is_not_sent_and_the_next_message_is(monkeypatch):
    stage = Stage(DISPATCHERS["caller"]())
    ref = stage.start()
    courier = Courier(stage.dispatcher)

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    refused = stage.dispatcher.future()
    with pytest.raises(RuntimeError, match="new thread"):
        courier.send(ref, "refused", refused)
    monkeypatch.undo()
    sent = stage.dispatcher.future()
    courier.send(ref, "sent", sent)
    assert sent.get(timeout=FAILSAFE_S) == "sent"
    assert not refused.done
    courier.close()
    stage.close()


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_an_opening_that_finds_no_thread_leaves_nothing_open(tmp_path, monkeypatch, dispatcher):
    # What other tests have left behind would want a courier's thread too, to say that it is gone.
    gc.collect()
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "inmem-courier":
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main():
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="new thread"):
                await inmem.aio.open(tmp_path / "db", dispatcher=dispatcher)
        async with inmem.aio.open(tmp_path / "db", dispatcher=dispatcher) as db:
            assert await db.put("run", "k", 1) == 1

    asyncio.run(main())


def started_meanwhile(monkeypatch):
    """Return a list of the threads that are started from now on."""
    start = threading.Thread.start
    started = []

    def noting(thread):
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", noting)
    return started


def test_a_transaction_dropped_after_the_store_was_closed_starts_no_thread(tmp_path, monkeypatch):
    async def main():
        db = await inmem.aio.open(tmp_path / "db")
        txn = await db.begin("run")
        txn.put("k", 1)
        await db.close()
        started = started_meanwhile(monkeypatch)
        del txn
        gc.collect()
        assert started == []

    gc.collect()
    asyncio.run(main())


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_a_transaction_dropped_after_its_handle_was_closed_has_ended(monkeypatch, dispatcher):
    """No message says so: actors must not run in the thread of the loop."""

    async def main(plain):
        db = await inmem.aio.connect(plain)
        txn = await db.begin("run")
        other = await db.begin("run")
        await db.close()
        assert plain.stats().active_transactions == 2
        started = started_meanwhile(monkeypatch)
        del txn
        other.abort()
        gc.collect()
        monkeypatch.undo()
        assert started == []
        assert plain.stats().active_transactions == 0
        return db

    gc.collect()
    with inmem.open(":memory:", dispatcher=dispatcher) as plain:
        asyncio.run(main(plain))


def test_a_forked_child_has_nobody_to_tell_of_a_transaction_of_its_parents_handle():
    """Not a thread either, which could not send the news."""
    program = """
import asyncio, os, threading
import inmem, inmem.aio

async def begun(plain):
    async with inmem.aio.connect(plain) as db:
        return await db.begin("run")

plain = inmem.open(":memory:")
txn = asyncio.run(begun(plain))
child = os.fork()
if child == 0:
    threading.Thread.start = lambda thread: os._exit(1)
    # What its finalizer does. In the child, frames of the parent's threads may hold it for ever.
    txn._lease.end()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), plain.stats().active_transactions)
del txn
"""
    # Python 3.12 and later warn of any fork of a process with threads.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    run = subprocess.run(command, capture_output=True, timeout=FAILSAFE_S, check=False)
    assert (run.stdout, run.stderr) == (b"7 1\n", b"")


def test_a_courier_that_is_closed_refuses_for_a_receiver_that_has_stopped_and_sends_to_one_that_has_not():
    stage = Stage(DISPATCHERS["threads"]())
    ref, stopped = stage.start(), stage.start()
    stopped.stop()
    courier = Courier(stage.dispatcher)
    courier.start()
    courier.close()
    courier.send(stopped, "to nobody", None)
    refused = stage.dispatcher.future()
    courier.send(stopped, "to nobody", refused)
    assert refused.done
    with pytest.raises(inmem.DatabaseClosedError):
        refused.get(timeout=FAILSAFE_S)
    sent = stage.dispatcher.future()
    courier.send(ref, "sent", sent)
    assert sent.get(timeout=FAILSAFE_S) == "sent"
    stage.close()
