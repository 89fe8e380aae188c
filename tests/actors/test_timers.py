import sys
import threading
import time
from collections import deque

import pytest

from inmem.actors.dispatch.timers import Timers
from tests.actors.faulty_disk import FAILSAFE_S
from tests.actors.workload import in_parallel
from tests.log_events import raised, told


@pytest.fixture
def timers():
    timers = Timers()
    yield timers
    in_parallel(timers.stop)


def test_functions_are_called_in_the_order_of_their_deadlines(timers):
    called, done = [], threading.Event()
    timers.call_later(0.03, done.set)
    for delay_s in (0.02, 0.0, 0.01):
        timers.call_later(delay_s, lambda delay_s=delay_s: called.append(delay_s))
    assert done.wait(FAILSAFE_S)
    assert called == [0.0, 0.01, 0.02]


def test_equal_deadlines_are_met_in_the_order_in_which_they_were_set(timers, monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 1.0)
    called, done = [], threading.Event()
    for number in range(10):
        timers.call_later(0, lambda number=number: called.append(number))
    timers.call_later(0, done.set)
    assert done.wait(FAILSAFE_S)
    assert called == [*range(10)]


def test_a_timer_beyond_all_waiting_keeps_nobody_from_the_next(timers):
    timers.call_later(1e12, lambda: None)
    done = threading.Event()
    timers.call_later(0, done.set)
    assert done.wait(FAILSAFE_S)


def test_after_the_stop_nothing_is_called(timers):
    called = []
    timers.call_later(FAILSAFE_S, lambda: called.append("late"))
    [thread] = [thread for thread in threading.enumerate() if thread is timers._worker.thread]
    timers.stop()
    timers.call_later(0, lambda: called.append("after"))
    thread.join(FAILSAFE_S)
    assert not thread.is_alive()
    assert called == []


def test_a_stop_between_the_look_at_what_has_arrived_and_the_grip_harms_nobody(timers):
    class Arrived(deque):
        def __len__(self):
            count = super().__len__()
            if count and threading.current_thread() is not threading.main_thread():
                timers.stop()
            return count

    timers._arrived = Arrived()
    timers.call_later(0, lambda: None)
    timers._worker.thread.join(FAILSAFE_S)
    assert not timers._worker.thread.is_alive()


class ThreadDeath(BaseException):
    pass


class DieAt:
    """Raises in the calling thread at the n-th step that Python takes there, its own library's included."""

    def __init__(self, step):
        self._left = step
        self.died = False

    def __call__(self, *_):
        self._left -= 1
        if self._left == 0:
            self.died = True
            sys.settrace(None)
            raise ThreadDeath
        return self


@pytest.mark.usefixtures("untraced")
def test_whoever_dies_while_setting_a_timer_takes_no_other_timer_with_it():
    """An exception from outside struck an actor between taking a lock and knowing so: its store could not be closed."""
    step, died = 0, True
    while died:
        step += 1
        timers = Timers()
        # The first one starts the thread, and nobody survives being struck inside of Python's own `Thread.start`.
        timers.call_later(0, lambda: None)
        die = DieAt(step)

        def doomed(timers=timers, die=die):
            sys.settrace(die)
            try:
                timers.call_later(FAILSAFE_S, lambda: None)
            except ThreadDeath:
                return
            finally:
                sys.settrace(None)

        in_parallel(doomed)
        died = die.died
        done = threading.Event()
        in_parallel(lambda timers=timers, done=done: timers.call_later(0, done.set))
        assert done.wait(FAILSAFE_S), step
        in_parallel(timers.stop)
    assert step > 10


def test_a_function_that_raises_keeps_no_other_from_its_time(timers, events):
    called = []

    def fail():
        called.append("first")
        if len(called) == 1:
            raise RuntimeError("can't start new thread")
        again.set()

    done, again = threading.Event(), threading.Event()
    timers.call_later(0, fail)
    timers.call_later(0, lambda: (called.append("second"), done.set()))
    assert done.wait(FAILSAFE_S)
    # Who has set it relies on it, as the log writer does, which sets no other one meanwhile.
    assert again.wait(FAILSAFE_S)
    assert called == ["first", "second", "first"]
    (failed,) = told(events, "warning", "timer_failed")
    assert raised(failed, RuntimeError)
    assert failed["error"] == 'RuntimeError("can\'t start new thread")'
