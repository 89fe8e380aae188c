"""Somebody raises an exception in a thread of the program's while it carries messages: wherever, nobody else hangs.

Such an exception strikes behind a call, at the beginning of a function, and where a loop goes back. The first two are
what a profiling function is told of, and what that raises is raised there; so each of them can be struck in turn.
"""

import contextlib
import sys
import threading
import time

import pytest

import inmem
from inmem.actors.dispatch import caller_dispatcher, deputy, lane, mailbox, taking, turns
from tests.actors.stage import FAILSAFE_S, Stage, in_threads

STRUCK = frozenset(module.__file__ for module in (caller_dispatcher, deputy, lane, taking, turns, mailbox))


class StrikeError(BaseException):
    """Not even an Exception, as what is to end a thread."""


class StrikeAt:
    """Strikes the thread that it profiles at the n-th place in the dispatcher's own code."""

    def __init__(self, number):
        self._left = number
        self.where = None

    def __call__(self, frame, event, argument):
        if event not in {"call", "c_return"} or frame.f_code.co_filename not in STRUCK or self.where is not None:
            return
        self._left -= 1
        if self._left < 0:
            self.where = f"{frame.f_code.co_qualname}, line {frame.f_lineno}, {event} {argument}"
            sys.setprofile(None)
            raise StrikeError(self.where)


def put_with_others_behind(db, strike):
    """Have a thread that is struck come upon what another waits for, and return that one."""
    dispatcher = db._client.directory.dispatcher
    dispatcher._running.acquire()

    def wait():
        with contextlib.suppress(inmem.TransactionAbortedError):
            db.put("run", "other", 1)

    other = threading.Thread(target=wait, daemon=True)
    other.start()
    while not dispatcher._waiters:
        assert other.is_alive()

    def struck():
        dispatcher._running.release()
        sys.setprofile(strike)
        try:
            db.put("run", "struck", 1)
        except (StrikeError, inmem.TransactionAbortedError):
            return
        finally:
            sys.setprofile(None)

    in_threads(struck)
    return other


@pytest.fixture
def caller_stage():
    stage = Stage(caller_dispatcher.CallerDispatcher())
    yield stage
    stage.close()


def until(condition):
    deadline_s = time.monotonic() + FAILSAFE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


@pytest.mark.usefixtures("untraced")
def test_a_thread_that_is_struck_while_it_relieves_another_leaves_nobody_waiting(caller_stage, monkeypatch):
    monkeypatch.setattr(caller_dispatcher, "TELLER_MESSAGES_MAX", 0)
    ref, dispatcher = caller_stage.start(), caller_stage.dispatcher
    number, where = 0, ""
    while where is not None:
        handling, go_on, strike = threading.Event(), threading.Event(), StrikeAt(number)

        def first(_, handling=handling, go_on=go_on):
            handling.set()
            assert go_on.wait(FAILSAFE_S)

        def relieve(strike=strike):
            sys.setprofile(strike)
            try:
                dispatcher.sleep(0)
            except StrikeError:
                return
            finally:
                sys.setprofile(None)

        runner = threading.Thread(target=lambda first=first: ref.tell(first))
        runner.start()
        assert handling.wait(FAILSAFE_S)
        asking = threading.Thread(target=lambda: ref.ask(lambda _: None), daemon=True)
        asking.start()
        until(lambda: dispatcher._waiters)
        relieving = threading.Thread(target=relieve)
        relieving.start()
        until(lambda it=relieving: dispatcher._relieving.locked() or not it.is_alive())
        go_on.set()
        for thread in (relieving, runner, asking):
            thread.join(FAILSAFE_S)
            assert not thread.is_alive(), f"strike {number}: {strike.where}"
        until(lambda: not dispatcher._running.locked() and not dispatcher._entered)
        where = strike.where
        number += 1
    assert number > 8


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("place", ["memory", "disk"])
def test_a_thread_that_is_struck_anywhere_leaves_nobody_waiting(tmp_path, place):
    number, where = 0, ""
    while where is not None:
        strike = StrikeAt(number)
        with inmem.open(":memory:" if place == "memory" else tmp_path / f"{number}") as db:
            dispatcher = db._client.directory.dispatcher
            other = put_with_others_behind(db, strike)
            where = strike.where
            try:
                in_threads(lambda db=db: db.put("run", "after", 1))
                other.join(FAILSAFE_S)
                assert not other.is_alive()
                assert db.get("run", "after") == 1
                # The deputy may be running the queue still.
                until(lambda it=dispatcher: not it._running.locked() and not it._relieving.locked() and not it._entered)
                assert not dispatcher._waiters
            except BaseException as error:
                error.add_note(f"strike {number}: {where}")
                raise
        number += 1
    assert number > 30
