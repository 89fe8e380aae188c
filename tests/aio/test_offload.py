"""Blocking calls in threads: who cancels what, and whose threads they are."""

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

import inmem
import inmem.aio
from inmem.actors.dispatch import threads
from inmem.aio import call_threads, offload
from inmem.aio.offload import run_in_thread
from tests.actors.faulty_disk import FAILSAFE_S
from tests.aio.rig import happens, until

CANCELLATIONS = 3


class Gate:
    """A call that has begun and does not end before it may."""

    def __init__(self):
        self.arrived = threading.Event()
        self.may_end = threading.Event()
        self.threads = []
        self.has_ended = False

    def pass_through(self):
        self.threads.append(threading.current_thread())
        self.arrived.set()
        assert self.may_end.wait(FAILSAFE_S)
        self.has_ended = True

    def before(self, fn):
        """Return `fn`, with the gate before it."""

        def gated(*args, **kwargs):
            self.pass_through()
            return fn(*args, **kwargs)

        return gated


async def cancel_all_tasks():
    """Cancel as the end of `asyncio.run` does, more often, and let them hear of it."""
    for _ in range(CANCELLATIONS):
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        for _ in range(10):
            await asyncio.sleep(0)


async def outlives_all_cancellations(gate, work):
    """Cancel every task there is while `work` is at its gate: it ends when the call has ended, and not before."""
    task = asyncio.ensure_future(work)
    await happens(gate.arrived)
    await cancel_all_tasks()
    assert not task.done(), "the thread is still at it"
    gate.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gate.has_ended


def test_who_cancels_all_tasks_cancels_no_call_that_has_begun():
    gate = Gate()
    asyncio.run(outlives_all_cancellations(gate, run_in_thread(gate.pass_through)))


def test_an_opening_during_which_all_tasks_are_cancelled_leaves_nothing_open(tmp_path, monkeypatch):
    gate = Gate()

    async def opening():
        async with inmem.aio.open(tmp_path / "db"):
            pass

    with monkeypatch.context() as patch:
        patch.setattr(inmem, "open", gate.before(inmem.open))
        asyncio.run(outlives_all_cancellations(gate, opening()))
    inmem.open(tmp_path / "db").close()


def test_a_write_of_a_session_is_done_when_its_await_ends_whoever_cancels_all_tasks(monkeypatch):
    openai_agents = pytest.importorskip("inmem.integrations.openai_agents")
    gate = Gate()
    with inmem.open(":memory:") as db:
        session = openai_agents.InmemSession("ada", db)
        monkeypatch.setattr(db, "transaction", gate.before(db.transaction))
        asyncio.run(outlives_all_cancellations(gate, session.add_items([{"role": "user", "content": "x"}])))
        assert len(db.kv.list("ada")) == 1


def test_a_listing_during_which_all_tasks_are_cancelled_is_closed_and_lets_go_of_its_snapshot(monkeypatch):
    """Its generator was closed while another thread was in it, now and then: 'generator already executing'."""
    langgraph = pytest.importorskip("inmem.integrations.langgraph")
    gate = Gate()
    closed = []
    with inmem.open(":memory:") as db:
        saver = langgraph.InmemSaver(db)

        def listed(*_, **__):
            with db.begin("run"):
                try:
                    for number in range(1_000):
                        if number == 1:
                            gate.pass_through()
                        yield number
                finally:
                    closed.append(threading.current_thread())

        monkeypatch.setattr(saver, "list", listed)

        async def listing():
            async for _ in saver.alist({"configurable": {"thread_id": "t"}}):
                await asyncio.sleep(0)

        asyncio.run(outlives_all_cancellations(gate, listing()))
        assert len(closed) == 1
        assert db.stats().active_transactions == 0


def test_a_listing_that_is_left_is_closed_although_every_thread_is_taken_and_it_is_cancelled_again(monkeypatch):
    langgraph = pytest.importorskip("inmem.integrations.langgraph")
    monkeypatch.setattr(offload, "THREADS_MAX", 1)
    gate = Gate()
    with inmem.open(":memory:") as db:
        saver = langgraph.InmemSaver(db)

        def listed(*_, **__):
            with db.begin("run"):
                yield from range(1_000)

        monkeypatch.setattr(saver, "list", listed)

        async def main():
            found = saver.alist({"configurable": {"thread_id": "t"}})
            assert await anext(found) == 0
            busy = asyncio.ensure_future(run_in_thread(gate.pass_through))
            await happens(gate.arrived)
            leaving = asyncio.ensure_future(found.aclose())
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait([leaving])
            assert db.stats().active_transactions == 0
            gate.may_end.set()
            await busy

        asyncio.run(main())


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_call_that_has_not_begun_is_given_up_at_once_and_never_made(tmp_path, monkeypatch, how):
    monkeypatch.setattr(offload, "THREADS_MAX", 1)
    gate = Gate()
    made = []

    async def main():
        busy = asyncio.ensure_future(run_in_thread(gate.pass_through))
        await happens(gate.arrived)
        for work in (lambda: run_in_thread(made.append, 1), lambda: inmem.aio.open(tmp_path / "db")):
            if how == "timeout":
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0):
                        await work()
            else:
                task = asyncio.ensure_future(awaited(work()))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        assert not gate.has_ended, "it did not have to wait for that"
        gate.may_end.set()
        await busy
        # The one thread has come to where it would have made them.
        await run_in_thread(made.append, 2)

    async def awaited(what):
        return await what

    asyncio.run(main())
    assert made == [2]
    assert not (tmp_path / "db").exists()


def test_a_store_is_used_and_closed_while_the_default_executor_waits_for_its_end():
    async def main():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        async with asyncio.timeout(FAILSAFE_S), inmem.aio.open(":memory:") as db:
            watching = asyncio.ensure_future(asyncio.to_thread(list, db.plain.watch()))
            await db.put("run", "k", 1)
            assert (await db.stats()).commits == 1
            assert (await db.verify()).is_valid
        assert len(await watching) == 1

    asyncio.run(main())


def test_a_store_is_closed_although_every_thread_of_inmems_own_waits_for_its_end(monkeypatch):
    monkeypatch.setattr(offload, "THREADS_MAX", 1)

    async def main():
        async with asyncio.timeout(FAILSAFE_S), inmem.aio.open(":memory:") as db:
            watching = asyncio.ensure_future(run_in_thread(list, db.plain.watch()))
            await asyncio.sleep(0)
            waiting = asyncio.ensure_future(db.verify())
            await asyncio.sleep(0)
        assert await watching == []
        with pytest.raises(inmem.DatabaseClosedError):
            await waiting

    asyncio.run(main())


def test_stats_that_are_given_up_are_not_waited_for(monkeypatch):
    gate = Gate()

    async def main():
        async with inmem.aio.open(":memory:") as db:
            with monkeypatch.context() as patch:
                patch.setattr(inmem.aio.database, "stats_of", lambda *_: gate.pass_through())
                task = asyncio.ensure_future(db.stats())
                await happens(gate.arrived)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not gate.has_ended
            gate.may_end.set()

    asyncio.run(main())


def test_what_no_thread_could_be_started_for_is_never_called(monkeypatch):
    """Not by the thread of another call either."""
    gate = Gate()
    called = []

    def refuse(_):
        raise RuntimeError("can't start new thread")

    async def main():
        busy = asyncio.ensure_future(run_in_thread(gate.pass_through))
        await happens(gate.arrived)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="new thread"):
                await run_in_thread(called.append, 1)
        gate.may_end.set()
        await busy
        await asyncio.gather(*(run_in_thread(called.append, 2) for _ in range(3)))

    asyncio.run(main())
    assert called == [2, 2, 2]


def test_what_no_future_can_hold_ends_the_await_all_the_same():
    async def main():
        with pytest.raises(RuntimeError, match="StopIteration"):
            await run_in_thread(next, iter(()))

    asyncio.run(main())


def of_the_pool():
    """Return the thread that makes a call."""
    thread = threading.current_thread()
    assert thread.name.startswith("inmem-aio")
    return thread


def test_threads_serve_one_call_after_the_other_and_end_with_the_loop():
    async def main():
        threads = [await run_in_thread(of_the_pool) for _ in range(5)]
        return {*threads, *await asyncio.gather(*(run_in_thread(of_the_pool) for _ in range(100)))}

    threads = asyncio.run(main())
    assert 1 <= len(threads) <= offload.THREADS_MAX
    for thread in threads:
        thread.join(FAILSAFE_S)
        assert not thread.is_alive()


def test_threads_end_after_a_while_in_a_loop_that_goes_on(monkeypatch):
    monkeypatch.setattr(offload, "POOL_KEPT_S", 0.0)

    async def main():
        thread = await run_in_thread(of_the_pool)
        await until(lambda: not thread.is_alive())
        assert (await run_in_thread(of_the_pool)).ident is not None

    asyncio.run(main())


def collect_until_gone(kept):
    # The thread may still be on its way out of where it has told the loop of the end.
    while kept() is not None:
        gc.collect()


def test_a_loop_that_nobody_closed_is_not_kept_and_its_threads_end():
    loop = asyncio.new_event_loop()
    thread = loop.run_until_complete(run_in_thread(of_the_pool))
    kept = weakref.ref(loop)
    del loop
    with pytest.warns(ResourceWarning):
        collect_until_gone(kept)
    thread.join(FAILSAFE_S)
    assert not thread.is_alive()


def test_idle_threads_do_not_keep_the_program_alive():
    program = (
        "import asyncio; from inmem.aio.offload import run_in_thread\n"
        "loop = asyncio.new_event_loop(); loop.run_until_complete(run_in_thread(int)); print('done', flush=True)\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, timeout=FAILSAFE_S, check=True
    )
    assert (run.stdout, run.stderr) == (b"done\n", b"")


def test_a_call_that_has_not_begun_when_the_program_ends_never_begins():
    """Nothing would wait for its end."""
    program = """
import asyncio, sys, threading
from inmem.aio import offload

offload.THREADS_MAX = 1
began, may_end = threading.Event(), threading.Event()

def first():
    began.set()
    may_end.wait()
    print("first", flush=True)

def second():
    print("second begins", flush=True)
    threading.Event().wait()

async def main():
    running.append(asyncio.ensure_future(offload.run_in_thread(first)))
    running.append(asyncio.ensure_future(offload.run_in_thread(second)))
    await asyncio.to_thread(began.wait)

running = []
loop = asyncio.new_event_loop()
loop.run_until_complete(main())

def when_exiting():
    # Runs while the exit waits for the first call.
    from inmem.aio import call_threads
    while not call_threads._is_exiting:
        pass
    may_end.set()

threading.Thread(target=when_exiting, daemon=True).start()
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, timeout=FAILSAFE_S, check=False
    )
    assert run.stdout == b"first\n", os.fsdecode(run.stderr)


CTRL_C_DURING_A_START = """
import asyncio, sys, threading
from inmem.aio.offload import finish_in_thread, run_in_thread

start = threading.Thread.start

def start_and_be_struck(thread):
    start(thread)
    raise KeyboardInterrupt  # as in the wait for the thread to be there

threading.Thread.start = start_and_be_struck
try:
    asyncio.run(HOW(int))
except KeyboardInterrupt as error:
    # Whoever has this has the frames of all that was cut short.
    kept = error
    print("ends", flush=True)
"""


@pytest.mark.parametrize("how", ["run_in_thread", "finish_in_thread"])
def test_a_ctrl_c_while_a_thread_starts_does_not_keep_the_program_alive(how):
    """The thread was one that Python waits for at its end, but not yet one that it wakes."""
    run = subprocess.run(
        [sys.executable, "-c", CTRL_C_DURING_A_START.replace("HOW", how)],
        capture_output=True,
        timeout=FAILSAFE_S,
        check=True,
    )
    assert (run.stdout, run.stderr) == (b"ends\n", b"")


def test_a_call_that_has_begun_is_finished_before_the_program_ends():
    program = """
import asyncio, atexit, threading
from inmem.aio.offload import run_in_thread

loop = asyncio.new_event_loop()
begun = asyncio.Event()
at_exit = threading.Event()
atexit.register(at_exit.set)

def call():
    loop.call_soon_threadsafe(begun.set)
    at_exit.wait()
    print("finished", flush=True)

async def main():
    global task
    task = asyncio.ensure_future(run_in_thread(call))
    await begun.wait()

loop.run_until_complete(main())
print("ends", flush=True)
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, timeout=FAILSAFE_S, check=True
    )
    assert run.stdout == b"ends\nfinished\n"


class Strike(KeyboardInterrupt):
    """What strikes the loop's thread, as the second Ctrl-C does."""


def struck_at(moment, loop, work):
    """Run `work`, and raise Strike at the n-th moment in the files concerned; return whether there was one.

    Python looks for signals when a function begins and when a call has returned.
    """
    files = tuple(module.__file__ for module in (offload, call_threads, threads, threading))
    left = moment

    def profile(frame, event, _):
        nonlocal left
        if event in {"call", "c_return"} and frame.f_code.co_filename in files:
            left -= 1
            if left == -1:
                sys.setprofile(None)
                raise Strike

    async def profiled():
        sys.setprofile(profile)
        try:
            await work()
        finally:
            sys.setprofile(None)

    # The latter is what Python makes of it in `Thread.start`, while a lock there is let go of for a moment.
    # No collector meanwhile: a strike in something that it disposes of would be lost.
    gc.disable()
    try:
        with contextlib.suppress(Strike, RuntimeError):
            loop.run_until_complete(profiled())
    finally:
        gc.enable()
    return left < 0


@pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="struck in Thread.start, Python itself keeps the lock that every start takes"
)
def test_wherever_a_ctrl_c_strikes_later_calls_are_made_and_no_thread_is_left(monkeypatch):
    """Not one for the program's end to wait for, and not one that does not end with the loop."""
    monkeypatch.setattr(offload, "THREADS_MAX", 1)
    before = {*threading.enumerate()}
    served = set()
    moment = 0
    while True:
        loop = asyncio.new_event_loop()
        was_struck = struck_at(moment, loop, lambda: run_in_thread(int))
        assert all(thread.daemon for thread in {*threading.enumerate()} - before)

        async def later():
            return await asyncio.gather(*(run_in_thread(of_the_pool) for _ in range(2)))

        served_by = loop.run_until_complete(asyncio.wait_for(later(), FAILSAFE_S))
        served.update(served_by)
        loop.close()
        if not was_struck:
            break
        moment += 1
    assert moment > 20
    # What was struck out holds its frames, and they hold their pool, until the collector finds them.
    gc.collect()
    for thread in served:
        thread.join(FAILSAFE_S)
        assert not thread.is_alive()


def test_a_forked_child_has_threads_of_its_own():
    """Those of the parent, idle ones for instance, are not there."""
    program = """
import asyncio, os
from inmem.aio.offload import run_in_thread

loop = asyncio.new_event_loop()
loop.run_until_complete(run_in_thread(int))
child = os.fork()
if child == 0:
    os._exit(loop.run_until_complete(run_in_thread(int, "7")))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, timeout=FAILSAFE_S, check=False
    )
    assert run.stdout == b"7\n", os.fsdecode(run.stderr)
