"""Somebody raises an exception in the thread of an actor, which is to end it: nothing is lost and nobody hangs.

Debuggers and libraries that enforce time limits do this to threads they take for hung. Wherever it strikes, inside a
handler, between two messages or while the thread waits for one, it is that actor's failure.
"""

import ctypes
import threading

import pytest

import inmem
from inmem.actors import restart_limit
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, open_on
from tests.actors.stage import DISPATCHERS, Stage
from tests.actors.workload import Worker, in_parallel, state_of

ACTORS = ("coordinator", "shard-0", "shard-1", "log-writer", "log-disk", "checkpointer", "events", "reaper")
STRIKES = 12

pytestmark = pytest.mark.usefixtures("untraced")


class ThreadDeath(BaseException):
    """Not even an Exception, so that nothing handles it by accident."""


def threads_of(name):
    return [thread for thread in threading.enumerate() if thread.name == f"inmem-{name}" and thread.ident is not None]


def strike(name):
    for thread in threads_of(name):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(ThreadDeath))


@pytest.mark.parametrize(
    ("dispatcher", "name"),
    [*(("threads", name) for name in ACTORS), ("caller", "log-disk"), ("caller", "checkpointer")],
)
def test_the_thread_of_an_actor_is_struck_under_load(tmp_path, monkeypatch, dispatcher, name):
    monkeypatch.setattr(restart_limit, "RESTARTS_MAX", 10_000)
    disk = FaultyDisk(tmp_path / "db")
    db = open_on(disk, dispatcher=dispatcher, shards=2)
    workers = [Worker(db, f"worker-{n}") for n in range(3)]
    stop = threading.Event()
    # Only the reaper's own test gives it work: its commits come when they like, also between two looks at the state.
    ttl = 0.001 if name == "reaper" else None

    def work(worker):
        while not stop.is_set():
            worker.do(1)

    def others():
        """Keep every actor busy, through whatever it is that they answer."""
        while not stop.is_set():
            for use in (
                lambda: db.events.futures.append("run", "type", 1).get(timeout=FAILSAFE_S),
                lambda: db.kv.put("run", "k", 1, ttl=ttl),
                db.checkpoint,
            ):
                try:
                    use()
                except inmem.InmemError:
                    continue

    def striker():
        try:
            for number in range(STRIKES):
                # Strikes are as far apart as some commits take, whoever makes them.
                before = db.version
                strike(name)
                db.put("striker", "k", number, ttl=ttl)
                while db.version < before + 10:
                    db.kv.put("striker", "k", number)
        finally:
            stop.set()

    db.checkpoint()
    assert threads_of(name)
    in_parallel(*(lambda worker=worker: work(worker) for worker in workers), others, tolerant(striker, stop))
    in_parallel(lambda: db.put("run", "after", 1))
    assert not any(worker.unknown for worker in workers)
    for worker in workers:
        worker.check(db)
    assert ttl or db.stats().in_flight == 0
    live, version = state_of(db), db.version
    in_parallel(db.close)
    assert not disk.violations
    with inmem.open(disk.path) as again:
        assert ttl or (state_of(again), again.version) == (live, version)
        for worker in workers:
            worker.check(again)


def tolerant(striker, stop):
    """A put of the striker's own may be among what is aborted; then it strikes again."""

    def run():
        while not stop.is_set():
            try:
                striker()
            except inmem.TransactionAbortedError:
                stop.clear()

    return run


def test_a_thread_that_is_struck_while_it_waits_handles_the_next_message():
    stage = Stage(DISPATCHERS["threads"]())
    ref = stage.start("waits")
    assert ref.ask("first") == "first"
    for number in range(50):
        strike("waits")
        assert ref.ask(number, timeout=FAILSAFE_S) == number
    [thread] = threads_of("waits")
    assert thread.is_alive()
    stage.close()
    assert not threads_of("waits")
