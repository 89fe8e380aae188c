"""Somebody raises an exception in the thread of an actor, which is to end it: nothing is lost and nobody hangs.

Debuggers and libraries that enforce time limits do this to threads they take for hung. Wherever it strikes, inside a
handler, between two messages or while the thread waits for one, it is that actor's failure. The store's other threads
go on as well.
"""

import asyncio
import ctypes
import threading

import pytest

import inmem
import inmem.aio
from inmem.actors import restart_limit
from inmem.actors.client.courier import Courier
from inmem.actors.core.coordinator import Coordinator
from inmem.actors.core.lease import Lease
from inmem.actors.core.log_disk import LogDisk
from inmem.actors.core.log_writer import LogWriter
from inmem.actors.core.shard_actor import ShardActor
from inmem.actors.dispatch import interrupts
from inmem.actors.dispatch import worker as worker_module
from inmem.actors.dispatch.actor import LATER
from inmem.actors.dispatch.caller_dispatcher import CallerDispatcher
from inmem.actors.dispatch.lane import Lane
from inmem.actors.dispatch.timers import Timers
from inmem.actors.dispatch.worker import Worker as StoreThread
from inmem.actors.files.log_file import LogFile
from inmem.actors.messages.control import ActorFailed, Resume
from inmem.actors.requests.primitive_keeper import PRIMITIVE_ACTORS
from inmem.actors.supervisor import Supervisor
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, open_on
from tests.actors.stage import DISPATCHERS, Stage, in_threads
from tests.actors.workload import Worker, in_parallel, state_of
from tests.log_events import SECRET, raised, told

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


def put_for_ever(db):
    while True:
        db.put("run", "k", 1)


@pytest.mark.parametrize("actor_class", [Coordinator, ShardActor, LogWriter, LogDisk, PRIMITIVE_ACTORS["kv"]])
def test_a_thread_of_the_programs_that_is_struck_while_it_runs_an_actor_ends(tmp_path, monkeypatch, actor_class):
    """However many do in a short time: no actor is given up for what was meant for others."""
    to_end = set()
    ended = []

    def struck(self, message):
        ident = threading.get_ident()
        if ident in to_end:
            to_end.remove(ident)
            raise ThreadDeath
        return on_receive(self, message)

    def work():
        to_end.add(threading.get_ident())
        with pytest.raises(ThreadDeath):
            put_for_ever(db)
        ended.append(threading.current_thread())

    on_receive = actor_class.on_receive
    with inmem.open(tmp_path / "db") as db:
        db.put("run", "k", 0)
        monkeypatch.setattr(actor_class, "on_receive", struck)
        for _ in range(STRIKES):
            in_parallel(work)
        assert len(ended) == STRIKES
        assert not interrupts.pending
        assert db.put("run", "k", "goes on") > 0
        assert db.get("run", "k") == "goes on"


@pytest.mark.parametrize("times", [2, interrupts.STRIKES_MAX])
def test_a_thread_of_the_programs_that_is_struck_again_before_it_is_told_of_the_first_ends(monkeypatch, times):
    """It may be replacing the actor that the first one struck. None of them is an actor's own failure."""
    left = []

    def struck(self, message):
        if left and threading.current_thread() is left[-1]:
            left.pop()
            raise ThreadDeath
        return on_receive(self, message)

    def work():
        left.extend([threading.current_thread()] * times)
        with pytest.raises(ThreadDeath):
            put_for_ever(db)

    on_receive = ShardActor.on_receive
    with inmem.open(":memory:") as db:
        monkeypatch.setattr(ShardActor, "on_receive", struck)
        for _ in range(STRIKES):
            in_parallel(work)
            left.clear()
            assert not interrupts.pending
            assert in_threads(lambda: db.put("run", "k", "goes on")) == [db.version]


def test_what_goes_on_striking_a_thread_that_cannot_be_told_is_an_actors_own_failure():
    """An actor that raises it each time would be replaced for ever, by a thread that comes to nothing else."""

    def struck():
        first = ThreadDeath()
        meant = [interrupts.keep_back(first if not number else ThreadDeath()) for number in range(20)]
        assert meant == [number < interrupts.STRIKES_MAX for number in range(20)]
        with pytest.raises(ThreadDeath) as caught:
            interrupts.raise_pending()
        assert caught.value is first

    in_parallel(struck)
    assert not interrupts.pending


def test_a_thread_of_the_programs_that_is_struck_while_it_replaces_an_actor_ends(tmp_path, monkeypatch):
    to_end = []

    def broken(self, message):
        if to_end == ["an actor", "a thread"]:
            to_end.remove("an actor")
            raise RuntimeError("it fails once")
        return handle_put(self, message)

    def struck(self, message):
        if type(message) is ActorFailed and to_end:
            to_end.clear()
            raise ThreadDeath
        return supervise(self, message)

    def work():
        with pytest.raises(ThreadDeath):
            db.put("run", "k", 1)

    handle_put, supervise = PRIMITIVE_ACTORS["kv"].on_receive, Supervisor.on_receive
    with inmem.open(tmp_path / "db") as db:
        monkeypatch.setattr(PRIMITIVE_ACTORS["kv"], "on_receive", broken)
        monkeypatch.setattr(Supervisor, "on_receive", struck)
        for _ in range(3):
            to_end[:] = ["an actor", "a thread"]
            in_parallel(work)
            assert not to_end
            assert not interrupts.pending
            assert db.put("run", "k", "goes on") > 0


def test_what_is_kept_back_for_a_thread_that_has_ended_is_nobody_elses():
    def held_back():
        assert interrupts.keep_back(ThreadDeath())

    def another():
        interrupts.pending[threading.get_ident()] = kept
        interrupts.raise_pending()
        assert not interrupts.pending

    in_parallel(held_back)
    (kept,) = interrupts.pending.values()
    interrupts.pending.clear()
    # As if it had the ident of the one that has ended.
    in_parallel(another)


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


def test_what_a_strike_cuts_short_is_failed_over_until_that_has_been_done():
    """The next one may strike while the actor fails over the first."""
    failed, done = [], threading.Event()

    def handle(_):
        raise ThreadDeath

    def fail(item, error):
        failed.append((item, type(error)))
        if len(failed) < 3:
            raise ThreadDeath
        done.set()

    lane = Lane("inmem-struck", handle, fail)
    lane.put("cut short")
    assert done.wait(FAILSAFE_S)
    lane.close()
    assert failed == [("cut short", ThreadDeath)] * 3


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_an_actor_that_is_put_in_place_again_is_the_same_one(dispatcher):
    """Whoever puts it there may be cut short in the middle, and does so again; by then it may owe something."""
    stage = Stage(DISPATCHERS[dispatcher]())
    ref = stage.start()
    actor = ref.mailbox.actor
    owed = ref.ask(lambda actor: actor.owe("something") and LATER, block=False)
    ref.tell(Resume(actor))
    assert ref.ask("goes on", timeout=FAILSAFE_S) == "goes on"
    assert ref.mailbox.actor is actor
    assert not owed.done
    actor.owed.clear()
    stage.close()


@pytest.mark.parametrize("made", [Lease, LogFile])
def test_what_was_not_made_to_the_end_is_disposed_of_in_silence(made):
    """Its thread was struck, or had no room left on its stack."""
    del_it = made.__new__(made)
    del del_it


def test_timers_go_on_after_a_strike_while_they_wait():
    timers = Timers()
    for _ in range(50):
        done = threading.Event()
        timers.call_later(0, done.set)
        assert done.wait(FAILSAFE_S)
        strike("timers")
    [thread] = [thread for thread in threads_of("timers") if thread is timers._worker.thread]
    done = threading.Event()
    timers.call_later(0, done.set)
    assert done.wait(FAILSAFE_S)
    timers.stop()
    thread.join(FAILSAFE_S)
    assert not thread.is_alive()


def test_a_thread_that_is_struck_again_before_it_has_dealt_with_the_first_goes_on():
    """As by a library that strikes until the thread is dead."""
    works, told_of, struck_again = [], [], []

    def work():
        works.append(threading.current_thread())
        if len(works) == 1:
            raise ThreadDeath

    def strike_again(frame, event, _):
        """Where the thread goes on once the first one has been noted."""
        code = frame.f_code
        if code.co_filename != worker_module.__file__ or "_error" not in code.co_names:
            return strike_again if event == "call" else None
        if event == "line" and not struck_again and frame.f_locals["self"]._error is not None:
            struck_again.append(frame.f_lineno)
            raise ThreadDeath
        return strike_again

    worker = StoreThread("inmem-struck", work, told_of.append)
    threading.settrace(strike_again)
    try:
        worker.start()
    finally:
        threading.settrace(None)
    worker.join()
    assert struck_again
    assert len(works) == 2
    assert len(set(works)) == 1
    assert [type(error) for error in told_of] == [ThreadDeath]


def test_what_a_strike_cuts_short_in_the_thread_of_the_timers_is_called_again(events):
    timers = Timers()
    called, done = [], threading.Event()

    def cut_short():
        called.append("first")
        if len(called) == 1:
            raise ThreadDeath

    timers.call_later(0, cut_short)
    timers.call_later(0.01, done.set)
    assert done.wait(FAILSAFE_S)
    assert called == ["first", "first"]
    timers.stop()
    timers._worker.join()
    (failed,) = told(events, "warning", "timer_failed")
    assert raised(failed, ThreadDeath)
    assert failed["error"] == "ThreadDeath()"


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_the_log_is_synced_from_time_to_time_whatever_strikes_the_timers(tmp_path, monkeypatch, dispatcher):
    synced = threading.Semaphore(0)
    sync = LogFile.sync

    def counting(log_file):
        sync(log_file)
        synced.release()

    monkeypatch.setattr(LogFile, "sync", counting)
    with inmem.open(tmp_path / "db", dispatcher=dispatcher, durability="interval", sync_interval=0.001) as db:
        for number in range(STRIKES):
            db.put("run", "k", number)
            assert synced.acquire(timeout=FAILSAFE_S), number
            strike("timers")


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_what_is_awaited_is_answered_after_a_strike_at_the_courier(tmp_path, dispatcher, events):
    async def main():
        async with inmem.aio.open(tmp_path / "db", dispatcher=dispatcher) as db:
            for number in range(50):
                await asyncio.wait_for(db.put("run", "k", f"{SECRET} {number}"), FAILSAFE_S)
                strike("courier")
            assert await asyncio.wait_for(db.get("run", "k"), FAILSAFE_S) == f"{SECRET} 49"

    asyncio.run(main())
    interrupted = told(events, "warning", "courier_interrupted")
    assert interrupted
    assert all(raised(fact, ThreadDeath) and fact["error"] == "ThreadDeath()" for fact in interrupted)


def test_a_crowd_of_awaits_is_carried_out_once_each_while_the_courier_is_struck(tmp_path):
    async def main():
        appended = unknown = 0
        async with inmem.aio.open(tmp_path / "db", dispatcher="threads", durability="never") as db:

            async def append(name):
                nonlocal appended, unknown
                for number in range(50):
                    try:
                        await asyncio.wait_for(db.events.append("run", name, number), FAILSAFE_S)
                    except inmem.CommitOutcomeUnknownError:
                        unknown += 1
                    else:
                        appended += 1
                    # Others are being sent meanwhile.
                    if not number % 5:
                        strike("courier")

            await asyncio.gather(*(append(f"type-{n}") for n in range(20)))
            assert appended + unknown == 1000
            assert appended <= await db.events.len("run") <= 1000

    asyncio.run(main())


class Struck:
    """A dispatcher whose thread is struck once, in the middle of a round, before or after a letter is on its way."""

    def __init__(self, at, when):
        self._at = at
        self._when = when
        self.posted = []

    def post(self, *letter):
        self.posted.append(letter)

    def sleep(self, delay_s):
        """Nobody has to run anything."""

    def post_all(self, letters):
        for letter in letters:
            strikes = letter[1] == self._at
            if strikes:
                self._at = None
            if strikes and self._when == "before":
                raise ThreadDeath
            self.post(*letter)
            if strikes:
                raise ThreadDeath


class Reply:
    """A reply address that keeps all it is told."""

    def __init__(self):
        self.told = []

    def set(self, value=None):
        self.told.append(value)

    def set_exception(self, exc_info=None):
        self.told.append(exc_info[1])


def test_what_the_courier_has_queued_is_run_though_it_is_struck_before_it_has_run_it(monkeypatch):
    struck = []

    def strike_the_first(self, *letter):
        if not struck:
            struck.append(letter)
            raise ThreadDeath
        post(self, *letter)

    post = CallerDispatcher.post
    stage = Stage(CallerDispatcher())
    ref = stage.start()
    courier = Courier(stage.dispatcher)
    replies = [Reply() for _ in range(5)]
    with monkeypatch.context() as patch:
        # So that all of them are there when the thread begins.
        patch.setattr(StoreThread, "start", lambda _: True)
        for number, reply in enumerate(replies):
            courier.send(ref, number, reply)
    monkeypatch.setattr(CallerDispatcher, "post", strike_the_first)
    courier.start()
    thread = courier._bag.worker.thread
    courier.close()
    thread.join(FAILSAFE_S)
    assert [message for _, message, _ in struck] == [4]
    assert [reply.told for reply in replies[:3]] == [[0], [1], [2]]
    # Of these nobody knows how far they had come.
    assert all(isinstance(reply.told[0], inmem.CommitOutcomeUnknownError) for reply in replies[3:])
    stage.close()


@pytest.mark.parametrize("has_reply", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(5))
def test_each_letter_of_a_round_that_is_cut_short_is_sent_or_answered(monkeypatch, at, when, has_reply):
    """None is sent twice whose sender waits for an answer: it would be carried out twice."""
    stage = Stage(DISPATCHERS["threads"]())
    ref = stage.start()
    dispatcher = Struck(at, when)
    courier = Courier(dispatcher)
    replies = [Reply() if has_reply else None for _ in range(5)]
    with monkeypatch.context() as patch:
        # So that all of them are there when the thread begins.
        patch.setattr(StoreThread, "start", lambda _: True)
        for number, reply in enumerate(replies):
            courier.send(ref, number, reply)
    courier.start()
    thread = courier._bag.worker.thread
    courier.close()
    thread.join(FAILSAFE_S)
    assert not thread.is_alive()
    posted = [message for _, message, _ in dispatcher.posted]
    if has_reply:
        assert posted == sorted(set(posted))
        for number, reply in enumerate(replies):
            assert number in posted or reply.told
            assert all(isinstance(answer, inmem.CommitOutcomeUnknownError) for answer in reply.told)
        assert sum(bool(reply.told) for reply in replies) == min(at + 1, 2)
    else:
        assert list(dict.fromkeys(posted)) == [*range(5)]
    stage.close()
