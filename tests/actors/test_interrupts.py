"""Ctrl-C reaches the caller, never a handler: wherever it strikes, nobody hangs and the store stays whole."""

import itertools
import signal
import sys
import threading
import time
from collections import Counter

import pytest

import inmem
from inmem.actors.dispatch import caller_dispatcher, first_ctrl_c, future, interrupts
from inmem.actors.messages.transactions import CommitAborted
from inmem.engine import outcomes
from tests.actors.stage import DISPATCHERS, FAILSAFE_S, Stage


@pytest.fixture(autouse=True)
def python_s_own_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert not interrupts.pending
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def stage():
    interrupts.install()
    stage = Stage(DISPATCHERS["caller"]())
    yield stage
    stage.close()


def strike(*_):
    signal.raise_signal(signal.SIGINT)
    return "handled"


def test_opening_a_store_takes_over_pythons_own_handler_only():
    inmem.open(":memory:").close()
    assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inmem.open(":memory:").close()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_opening_a_store_elsewhere_than_in_the_main_thread_takes_over_nothing():
    thread = threading.Thread(target=lambda: inmem.open(":memory:").close())
    thread.start()
    thread.join(FAILSAFE_S)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_outside_the_store_it_is_raised_at_once(stage):
    with pytest.raises(KeyboardInterrupt):
        strike()


def test_a_handler_is_not_cut_short_and_the_caller_of_ask_is_interrupted(stage):
    ref = stage.start()
    done = []
    with pytest.raises(KeyboardInterrupt):
        ref.ask(lambda _: strike() and done.append("done"))
    assert done == ["done"]
    assert ref.ask("goes on") == "goes on"


def test_the_caller_of_tell_is_interrupted(stage):
    ref = stage.start()
    with pytest.raises(KeyboardInterrupt):
        ref.tell(strike)
    assert ref.ask("goes on") == "goes on"


def test_the_caller_of_get_is_interrupted(stage):
    ref = stage.start(own_thread=True)
    arrived = threading.Event()
    future = ref.ask(lambda _: arrived.wait(FAILSAFE_S) and strike(), block=False)
    arrived.set()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  (it strikes in one or the other)
        future.get(timeout=FAILSAFE_S)
        # The signal can be a little later than the reply.
        threading.Event().wait(FAILSAFE_S)
    assert future.get(timeout=FAILSAFE_S) == "handled"


def test_several_strikes_in_one_handler_are_one_interrupt(stage):
    ref = stage.start()
    with pytest.raises(KeyboardInterrupt):
        ref.ask(lambda _: [strike() for _ in range(5)])
    assert ref.ask("goes on") == "goes on"


def test_a_strike_while_a_transaction_is_forgotten_is_not_swallowed():
    """Python prints and drops what is raised in `__del__`, so the interrupt has to wait for the next call."""
    with inmem.open(":memory:") as db:
        txn = db.begin("run")
        interrupts.pending[threading.get_ident()] = threading.current_thread(), KeyboardInterrupt(), 1
        del txn
        assert interrupts.pending
        with pytest.raises(KeyboardInterrupt):
            db.put("run", "k", 1)
        assert db.stats().active_transactions == 0


class StrikeAt:
    """Within `with`, strikes before the n-th line of the package's code that the main thread comes to."""

    def __init__(self, number):
        self._left = number
        self._before = None
        self.struck = False
        self.in_del = False

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _enter(self, frame, event, argument):
        return self._line if is_ours(frame) else None

    def _line(self, frame, event, argument):
        if event == "line":
            self._left -= 1
            if self._left == 0:
                sys.settrace(None)
                self.struck = True
                self.in_del = is_in_del(frame)
                strike()
        return self._line


class StrikeAfterCall:
    """Within `with`, raises after the n-th call in the package's code in the main thread, as a signal handler would.

    Python looks for signals when a function begins, when a call has returned, and when a loop jumps back. Between two
    lines, where a tracer could strike as well, it does not look: the end of a `with` is safe.
    """

    def __init__(self, number):
        self._left = number
        self.struck = False
        self.in_del = False

    def __enter__(self):
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)

    def _event(self, frame, event, argument):
        if event not in {"call", "c_return"} or not is_ours(frame):
            return
        self._left -= 1
        if self._left == 0:
            self.struck = True
            self.in_del = is_in_del(frame)
            signal.raise_signal(signal.SIGALRM)


def is_ours(frame):
    name = frame.f_code.co_filename
    return any(f"/{folder}/" in name for folder in ("actors", "engine", "primitives")) and "/tests/" not in name


def is_in_del(frame):
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def work_put(db, number):
    db.put("run", "a", number)


def work_transaction(db, number):
    def write(txn):
        txn.get("a")
        for key in ("a", "b"):
            txn.put(key, number)
        txn.on("other run").kv.put("c", number)

    db.transaction("run", write)


def work_begin(db, number):
    with db.begin("run") as txn:
        for key in ("a", "b"):
            txn.put(key, number)
        txn.on("other run").kv.put("c", number)


def work_future(db, number):
    db.events.futures.append("run", "type", number).get()


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize("work", [work_put, work_transaction, work_begin, work_future])
def test_a_strike_at_any_line_interrupts_the_caller_and_harms_nothing(tmp_path, work, dispatcher):
    with inmem.open(tmp_path / "db", dispatcher=dispatcher, durability="never", shards=2) as db:
        for key in ("a", "b"):
            db.put("run", key, 0)
        db.put("other run", "c", 0)
        for number in itertools.count(1):
            interrupted = False
            before = db.version
            with StrikeAt(number) as struck:
                try:
                    work(db, number)
                except KeyboardInterrupt:
                    interrupted = True
            if struck.in_del:
                # Nothing can be raised there, so the next call raises it.
                with pytest.raises(KeyboardInterrupt):
                    db.put("run", "after", number)
            else:
                assert interrupted == struck.struck, f"line {number}"
            # Whoever comes next is served; and what was interrupted has happened whole, or not at all.
            db.put("run", "after", number)
            assert db.get("run", "after") == number
            assert db.version in {before + 1, before + 2, before + 3}
            if work in {work_transaction, work_begin}:
                with db.begin("run") as txn:
                    values = {txn.get("a"), txn.get("b"), txn.on("other run").kv.get("c")}
                assert len(values) == 1
            if not struck.struck:
                break
        assert number > 20
        assert db.verify().is_valid


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_strike_at_any_line_interrupts_whoever_begins_to_idle(dispatcher):
    """Noted while the future got its baton, it was not looked at before the thread blocked, perhaps for ever."""
    interrupts.install()
    stage = Stage(DISPATCHERS[dispatcher]())
    for number in itertools.count(1):
        bell = stage.dispatcher.future()
        interrupted = False
        with StrikeAt(number) as struck:
            try:
                stage.dispatcher.idle(bell, 0.001)
            except KeyboardInterrupt:
                interrupted = True
        assert interrupted == struck.struck, f"line {number}"
        if not struck.struck:
            break
    assert number > 5
    stage.close()


def strike_once_at(monkeypatch, module, name):
    """Strike when the main thread is about to call what `module` calls `name`."""
    original = getattr(module, name)

    def striking(*arguments):
        if threading.current_thread() is threading.main_thread():
            monkeypatch.setattr(module, name, original)
            strike()
        return original(*arguments)

    monkeypatch.setattr(module, name, striking)


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_watcher_that_begins_to_wait_is_interrupted(monkeypatch, dispatcher):
    with inmem.open(":memory:", dispatcher=dispatcher) as db:
        watcher = db.watch(timeout=0.01)
        strike_once_at(monkeypatch, future, "allocate_lock")
        with pytest.raises(KeyboardInterrupt):
            next(watcher)
        db.put("run", "k", 1)
        assert next(watcher).key == "k", "and goes on where it was"


def test_a_thread_that_waits_for_room_in_the_queue_is_interrupted(stage, monkeypatch):
    monkeypatch.setattr(caller_dispatcher, "QUEUE_MESSAGES_MAX", 1)
    monkeypatch.setattr(interrupts, "is_exposed", lambda: threading.current_thread() is threading.main_thread())
    ref = stage.start()
    handling, go_on = threading.Event(), threading.Event()

    def hold(_):
        handling.set()
        assert go_on.wait(FAILSAFE_S)

    runner = threading.Thread(target=lambda: ref.tell(hold))
    runner.start()
    assert handling.wait(FAILSAFE_S)
    ref.tell("within the limit")
    strike_once_at(monkeypatch, future, "allocate_lock")
    # What the thread is interrupted in never ends before it, unless it was not interrupted at all.
    deputys = stage.dispatcher._deputy._lane
    put = deputys.put
    monkeypatch.setattr(deputys, "put", lambda relieved: (put(relieved), go_on.set()))
    with pytest.raises(KeyboardInterrupt):
        ref.tell("past it")
    runner.join(FAILSAFE_S)
    assert ref.ask(lambda actor: list(actor.heard)) == ["within the limit", "past it"]


class DeadlineError(Exception):
    """What a program's own signal handler raises."""


@pytest.fixture
def handler_of_the_program_s_own():
    def handler(*_):
        raise DeadlineError

    before = signal.signal(signal.SIGALRM, handler)
    yield
    signal.signal(signal.SIGALRM, before)


def test_a_handler_of_another_kind_exposes_the_main_thread_and_no_other():
    inmem.open(":memory:").close()
    assert not interrupts.is_exposed()
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(interrupts.is_exposed()))
    thread.start()
    thread.join(FAILSAFE_S)
    assert (interrupts.is_exposed(), elsewhere) == (True, [False])
    signal.signal(signal.SIGTERM, before)
    assert not interrupts.is_exposed()
    # Nobody has taken over SIGINT: Python's own handler raises anywhere.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert interrupts.is_exposed()


@pytest.mark.usefixtures("handler_of_the_program_s_own")
@pytest.mark.parametrize("durability", ["always", "never"])
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize("work", [work_put, work_transaction, work_begin, work_future])
def test_what_a_program_s_own_handler_raises_harms_nothing(tmp_path, monkeypatch, work, dispatcher, durability):
    swallowed = []
    # Python cannot raise anything from `__del__`: it calls this.
    monkeypatch.setattr(sys, "unraisablehook", swallowed.append)
    with inmem.open(tmp_path / "db", dispatcher=dispatcher, durability=durability, shards=2) as db:
        for key in ("a", "b"):
            db.put("run", key, 0)
        db.put("other run", "c", 0)
        for number in itertools.count(1):
            interrupted = False
            with StrikeAfterCall(number) as struck:
                try:
                    work(db, number)
                except DeadlineError:
                    interrupted = True
            assert interrupted == (struck.struck and not struck.in_del), f"call {number}"
            assert len(swallowed) == struck.in_del
            swallowed.clear()
            db.kv.futures.put("run", "after", number).get(timeout=FAILSAFE_S)
            assert db.get("run", "after") == number
            with db.begin("run") as txn:
                assert txn.get("a") == txn.get("b") or work in {work_put, work_future}
            if not struck.struck:
                break
        assert number > 20
        assert db.verify().is_valid


@pytest.mark.parametrize("durability", ["always", "never"])
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize("strikes", [StrikeAt, StrikeAfterCall])
def test_a_commit_that_was_struck_tells_how_it_ended(request, tmp_path, strikes, dispatcher, durability):
    if strikes is StrikeAfterCall:
        request.getfixturevalue("handler_of_the_program_s_own")
    ended = Counter()
    with inmem.open(tmp_path / "db", dispatcher=dispatcher, durability=durability, shards=2) as db:
        for number in itertools.count(1):
            txn = db.begin("run")
            txn.put("k", number)
            txn.on("other run").kv.put("k", number)
            with strikes(number) as struck:
                try:
                    txn.commit()
                except (KeyboardInterrupt, DeadlineError):
                    assert struck.struck
            # Known at once, not only later.
            is_there = [db.get(run, "k") == number for run in ("run", "other run")]
            assert is_there == [txn.status == "committed"] * 2, f"{number}: {txn.status}"
            ended[txn.status] += 1
            if txn.status == "active":
                txn.abort()
            del txn
            assert db.stats().active_transactions == db.stats().in_flight == 0
            if not struck.struck:
                break
        assert db.verify().is_valid
    assert ended["committed"] > 10
    assert set(ended) <= {"active", "committed", "aborted"}


def test_an_outcome_that_is_too_old_to_be_remembered_is_unknown_and_harms_nobody(monkeypatch):
    monkeypatch.setattr(outcomes, "OUTCOMES_MAX", 3)
    with inmem.open(":memory:") as db:
        old, new = db.begin("run"), None
        for number in range(10):
            db.put("run", "k", number)
            new = new or (db.begin("run") if number == 8 else None)
        for txn, kind in ((old, inmem.CommitOutcomeUnknownError), (new, inmem.TransactionAbortedError)):
            txn.put("own", 1)
            answer = db._client.settle(txn._engine.seal())
            assert type(answer) is CommitAborted
            assert type(answer.error) is kind
        db.put("run", "k", 10)
        assert db.get("run", "own") is None


@pytest.fixture
def swift_turns():
    """Several threads take turns; how often they do must not decide how long a test takes."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(interval_s)


@pytest.mark.usefixtures("untraced", "swift_turns")
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_thousand_strikes_during_commits(tmp_path, dispatcher):
    """One strike after another, each answered by exactly one KeyboardInterrupt, while another thread commits too."""
    ready, stop = threading.Semaphore(0), threading.Event()
    errors = []

    def striker():
        while ready.acquire(timeout=FAILSAFE_S) and not stop.is_set():
            strike()

    def neighbour(db):
        try:
            for number in itertools.takewhile(lambda _: not stop.is_set(), itertools.count(1)):
                db.events.append("neighbour", "type", number)
        except BaseException as error:  # noqa: BLE001  (it is the test that must fail, not the thread)
            errors.append(error)

    def write_both(txn):
        number = txn.get("a") + 1
        txn.put("a", number)
        txn.put("b", number)

    with inmem.open(tmp_path / "db", dispatcher=dispatcher, durability="never") as db:
        db.put("run", "a", 0)
        db.put("run", "b", 0)
        threads = [threading.Thread(target=striker, daemon=True), threading.Thread(target=neighbour, args=[db])]
        for thread in threads:
            thread.start()
        try:
            for _ in range(1000):
                with pytest.raises(KeyboardInterrupt):  # noqa: PT012  (it strikes while the loop runs)
                    ready.release()
                    for _ in range(100_000):
                        db.transaction("run", write_both)
        finally:
            stop.set()
            ready.release()
            for thread in threads:
                thread.join(FAILSAFE_S)
        assert not any(thread.is_alive() for thread in threads)
        assert errors == []
        assert db.get("run", "a") == db.get("run", "b")
        before = db.get("run", "a")
        db.transaction("run", write_both)
        assert db.get("run", "a") == before + 1
        assert db.events.verify_chain("neighbour").is_valid
        assert db.verify().is_valid
        assert db.stats().in_flight == 0
    with inmem.open(tmp_path / "db") as db:
        assert db.get("run", "a") == db.get("run", "b") == before + 1


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_transaction_that_has_ended_is_disposed_of_without_running_anything(dispatcher):
    """What a handler of the program's own raised there, Python dropped: a SIGTERM meant to end the program did not."""
    with inmem.open(":memory:", dispatcher=dispatcher) as db:
        finalized = []

        def note(frame, event, _):
            if event == "call" and frame.f_code.co_name == "__del__":
                finalized.append(frame.f_code.co_qualname)

        sys.setprofile(note)
        try:
            db.transaction("run", lambda txn: txn.put("k", 1))
            with db.begin("run") as txn:
                txn.put("k", 2)
            with db.begin("run") as txn:
                txn.get("k")
            txn = db.begin("run")
            txn.abort()
            del txn
        finally:
            sys.setprofile(None)
        assert finalized == []


@pytest.fixture
def program(monkeypatch):
    """A program that its first Ctrl-C ends."""
    monkeypatch.setattr(first_ctrl_c, "_first_at", None)
    monkeypatch.setattr(interrupts, "is_for_program", interrupts.is_for_program)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    first_ctrl_c.end_program_at_first(130)


def test_in_a_program_that_the_first_ends_it_is_told_of_no_other(stage, program, monkeypatch):
    ends = []
    monkeypatch.setattr(first_ctrl_c.os, "_exit", ends.append)
    ref = stage.start()

    with pytest.raises(KeyboardInterrupt):
        ref.ask(lambda _: strike() and strike())
    strike()
    ref.ask(strike)
    assert ends == []

    monkeypatch.setattr(first_ctrl_c, "IMPATIENT_AFTER_S", 0)
    strike()
    assert ends == [130]
    first_ctrl_c.ignore_those_after_the_first()
    strike()
    assert ends == [130]


def test_in_a_program_that_the_first_ends_none_is_lost_where_python_drops_what_is_raised(stage, program):
    class Disposed:
        def __del__(self):
            strike()

    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  (it strikes in one or the other)
        Disposed()
        threading.Event().wait(FAILSAFE_S)


def test_nor_where_the_thread_takes_its_time_to_get_out_of_there(stage, program, monkeypatch):
    class Disposed:
        def __del__(self):
            strike()

    def start_and_be_put_off(thread):
        start(thread)
        time.sleep(5 * first_ctrl_c._STRIKES_AGAIN_AFTER_S)

    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start_and_be_put_off)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  (as above)
        Disposed()
        threading.Event().wait(FAILSAFE_S)
