"""ReplyFuture by itself: set once, read by anybody, and no wake-up is ever lost."""

import queue
import threading

import pykka
import pytest

from inmem.actors.dispatch.future import ReplyFuture
from tests.actors.stage import FAILSAFE_S, in_threads


def test_it_is_done_once_it_is_set():
    future = ReplyFuture()
    assert not future.done
    future.set("value")
    assert future.done
    assert future.get() == "value"
    assert future.get(timeout=0) == "value"


def test_none_is_a_value():
    future = ReplyFuture()
    future.set()
    assert future.done
    assert future.get() is None


@pytest.mark.parametrize("again", [lambda f: f.set(2), lambda f: f.set_exception(), lambda f: f.set_get_hook(str)])
def test_it_is_set_once_only(again):
    future = ReplyFuture()
    future.set(1)
    with pytest.raises(queue.Full):
        again(future)
    assert future.get() == 1


def test_a_failed_one_is_not_set_again():
    future = ReplyFuture()
    future.set_exception((ValueError, ValueError("no"), None))
    with pytest.raises(queue.Full):
        future.set(1)
    with pytest.raises(ValueError, match="no"):
        future.get()


def test_one_with_a_hook_is_not_set():
    future = ReplyFuture()
    future.set_get_hook(lambda timeout: "hooked")
    with pytest.raises(queue.Full):
        future.set(1)
    with pytest.raises(queue.Full):
        future.set_exception()
    assert future.get() == "hooked"


def test_the_exception_being_handled_is_the_default():
    future = ReplyFuture()
    try:
        raise LookupError("handled")
    except LookupError:
        future.set_exception()
    with pytest.raises(LookupError, match="handled"):
        future.get()


def test_an_exception_class_alone_is_enough():
    future = ReplyFuture()
    future.set_exception((LookupError, None, None))
    with pytest.raises(LookupError):
        future.get()


def test_a_hook_that_raises_is_asked_again():
    answers = [LookupError("not yet"), "there"]

    def hook(_timeout):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    future = ReplyFuture()
    future.set_get_hook(hook)
    with pytest.raises(LookupError):
        future.get()
    assert future.get() == future.get() == "there"


@pytest.mark.parametrize("timeout", [0, 0.0, -1, 0.001])
def test_it_times_out(timeout):
    with pytest.raises(pykka.Timeout):
        ReplyFuture().get(timeout=timeout)


def test_a_nudge_wakes_one_without_a_value():
    future = ReplyFuture()
    future.arm()
    future.nudge()
    assert future.block(FAILSAFE_S) is False


def test_a_nudge_before_the_thread_blocks_is_not_lost():
    """The thread has looked, found nothing to do, and is about to block when it is chosen to run the queue."""
    future = ReplyFuture()
    future.arm()
    looked, nudged = threading.Event(), threading.Event()

    def wait():
        looked.set()
        assert nudged.wait(FAILSAFE_S)
        future.block(None)

    def wake():
        assert looked.wait(FAILSAFE_S)
        future.nudge()
        nudged.set()

    in_threads(wait, wake)


def test_nudging_what_nobody_waits_for_is_harmless():
    future = ReplyFuture()
    future.nudge()
    future.arm()
    future.nudge()
    future.nudge()
    future.set(1)
    future.nudge()
    assert future.get() == 1


def test_every_waiting_thread_gets_the_value():
    for _ in range(50):
        future = ReplyFuture()
        assert in_threads(*[future.get] * 4, lambda future=future: future.set("value")) == ["value"] * 4 + [None]


def test_a_thread_that_gave_up_takes_no_wake_up_with_it():
    for _ in range(50):
        future = ReplyFuture()

        def give_up(future=future):
            with pytest.raises(pykka.Timeout):
                future.get(timeout=0)

        in_threads(give_up, give_up)
        assert in_threads(future.get, lambda future=future: future.set("value")) == ["value", None]


@pytest.mark.parametrize(
    "answer", [lambda f: f.set("value"), lambda f: f.set_exception((ValueError, ValueError(), None))]
)
def test_who_was_cut_short_before_waking_anybody_wakes_them_on_trying_again(monkeypatch, answer):
    future = ReplyFuture()
    waits = threading.Thread(target=lambda: future.block(None))
    nudge = ReplyFuture.nudge
    struck = []

    def struck_once(self):
        if not struck:
            struck.append(self)
            raise RecursionError
        nudge(self)

    monkeypatch.setattr(ReplyFuture, "nudge", struck_once)
    future.arm()
    waits.start()
    with pytest.raises(RecursionError):
        answer(future)
    # It may have begun to wait before the answer was there.
    assert future.baton.locked()
    with pytest.raises(queue.Full):
        answer(future)
    waits.join(FAILSAFE_S)
    assert not waits.is_alive()
    assert not future.baton.locked()
