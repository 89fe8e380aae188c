"""What the program has the store call, in the middle of its own work, may ask but not wait."""

import contextlib
import gc
import itertools
import sys
import threading

import pytest
import structlog

import inmem
from inmem.actors.dispatch import future, worker
from inmem.actors.dispatch.caller_dispatcher import CallerDispatcher
from inmem.actors.dispatch.lane import Lane
from inmem.actors.dispatch.timers import Timers
from inmem.messages import PutKey
from tests.actors.stage import DISPATCHERS, FAILSAFE_S, in_threads


@pytest.fixture(params=DISPATCHERS)
def db(request, tmp_path):
    with inmem.open(tmp_path / "db", dispatcher=request.param) as opened:
        yield opened


def test_a_finalizer_that_the_collector_runs_inside_an_actor_does_not_stop_the_store(db, monkeypatch):
    refused = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: refused.append(unraisable.exc_value))

    class Session:
        def __init__(self, number):
            # A cycle, so that it is the collector who runs its finalizer: at any moment.
            self.itself = self
            self.number = number

        def __del__(self):
            db.put("closed", f"s{self.number % 10}", self.number)

    def work():
        for number in range(500):
            Session(number)
            db.put("run", "k", number)

    threshold = gc.get_threshold()
    gc.set_threshold(20)
    try:
        in_threads(work)
    finally:
        gc.set_threshold(*threshold)
    assert db.get("run", "k") == 499
    assert all(isinstance(error, inmem.UsageError) for error in refused)
    assert any("finalizer" in str(error) for error in refused)
    # What was asked for is done all the same.
    assert len(db.kv.list("closed")) == 10


def test_a_finalizer_may_post_while_what_waits_is_counted(db):
    held, go = threading.Event(), threading.Event()

    class Slow:
        """Whoever answers this one waits, and so does all that is queued behind it."""

        def set(self, _value=None):
            held.set()
            assert go.wait(FAILSAFE_S)

        def set_exception(self, _exc_info=None):
            self.set()

    class Session:
        def __init__(self):
            self.itself = self

        def __del__(self):
            kv.tell(PutKey("closed", "k", 1))

    def look():
        assert held.wait(FAILSAFE_S)
        waiting = [db.kv.futures.put("run", "k", number) for number in range(50)]
        try:
            for threshold in range(1, 60):
                Session()
                # At some of these the collector comes in the middle of the counting.
                gc.set_threshold(threshold)
                kv.mailbox.dispatcher.depth(kv.mailbox)
                gc.set_threshold(*usual)
        finally:
            gc.set_threshold(*usual)
            go.set()
        assert all(isinstance(future.get(timeout=FAILSAFE_S), int) for future in waiting)

    kv = db.directory.mailboxes["kv"]
    usual = gc.get_threshold()
    in_threads(lambda: kv.send(PutKey("run", "k", 0), Slow()), look)
    # None may be left to post to a store that is closed.
    gc.collect()


@contextlib.contextmanager
def one_line_later(module, name, work):
    """Have `work` done when `name` of `module` is called for the first time, as by a signal handler or a finalizer."""
    original = getattr(module, name)

    def striking(*args, **kwargs):
        nonlocal is_over
        if not is_over:
            is_over = True
            work()
        return original(*args, **kwargs)

    is_over = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, striking)
        yield
    assert is_over


def test_whoever_strikes_a_thread_that_is_about_to_wait_may_wait_too(db):
    with one_line_later(future, "allocate_lock", lambda: db.put("run", "within", 1)):
        ref = db.directory.supervisor
        in_threads(lambda: ref.ask(inmem.messages.PutKey("run", "k", 1), timeout=FAILSAFE_S))
    assert (db.get("run", "k"), db.get("run", "within")) == (1, 1)


@pytest.mark.usefixtures("untraced")
def test_whoever_strikes_a_thread_that_runs_the_queue_may_wait_or_is_refused_and_strands_nothing(tmp_path):
    """At any line of it: with the lock taken and nobody's name on it yet, say, or given back and not gone yet."""
    runs_queue = CallerDispatcher._run.__code__
    with inmem.open(tmp_path / "db") as db:
        strikes = itertools.count()
        answered = set[bool]()

        def strike() -> None:
            try:
                db.put("run", "within", 1)
            except inmem.UsageError:
                answered.add(False)
            else:
                answered.add(True)

        def put_struck_at(line: int) -> bool:
            lines = itertools.count()

            def trace(frame, event, _):
                if frame.f_code is not runs_queue:
                    return None
                if event == "line" and next(lines) == line:
                    sys.settrace(None)
                    strike()
                return trace

            sys.settrace(trace)
            try:
                db.put("run", "k", line)
            finally:
                sys.settrace(None)
            return next(lines) > line

        def work() -> int:
            return next(line for line in strikes if not put_struck_at(line))

        (lines,) = in_threads(work)
        assert lines > 40
        assert answered == {False, True}
        assert (db.get("run", "k"), db.get("run", "within")) == (lines, 1)


def test_whoever_strikes_a_lane_that_starts_its_thread_may_put_something_too():
    handled = []
    struck = Lane("struck lane", handled.append, lambda *_: None)
    with one_line_later(worker, "start_thread", lambda: struck.put("within")):
        in_threads(lambda: struck.put("outside"))
    in_threads(struck.close)
    assert sorted(handled) == ["outside", "within"]
    for thread in threading.enumerate():
        if thread.name == "struck lane":
            # It was one too many, and has found that out.
            thread.join(FAILSAFE_S)
            assert not thread.is_alive()


def test_whoever_strikes_timers_that_start_their_thread_may_set_one_too():
    within, outside = threading.Event(), threading.Event()
    struck = Timers()
    with one_line_later(worker, "start_thread", lambda: struck.call_later(0, within.set)):
        in_threads(lambda: struck.call_later(0, outside.set))
    assert within.wait(FAILSAFE_S)
    assert outside.wait(FAILSAFE_S)
    struck.stop()
    struck._worker.thread.join(FAILSAFE_S)
    assert not struck._worker.thread.is_alive()


def test_a_processor_that_keeps_the_log_in_the_store_does_not_stop_it(db, monkeypatch):
    kept = []

    def keep(_logger, _method, event):
        kept.append(event["event"])
        db.events.append("log", event["event"])
        return event

    structlog.configure(processors=[keep, structlog.processors.KeyValueRenderer()])
    complaints = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: complaints.append(error))
    try:
        in_threads(lambda: lose_many(db))
    finally:
        structlog.reset_defaults()
    assert "conflict_storm" in kept
    assert db.put("run", "k", 1) == db.version


def lose_many(db):
    transactions = [db.begin("run") for _ in range(150)]
    for txn in transactions:
        txn.put("k", txn.get("k"))
        try:
            txn.commit()
        except inmem.ConflictError:
            continue
