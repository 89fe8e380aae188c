"""Whoever is interrupted while opening a store gets none, and nothing is left of it: no lock, no thread, no ref."""

import signal
import threading

import pykka
import pytest

import inmem
from inmem.actors import supervisor, system
from inmem.actors.dispatch import interrupts
from inmem.actors.dispatch.caller_dispatcher import CallerDispatcher
from inmem.actors.dispatch.threads_dispatcher import ThreadsDispatcher
from inmem.actors.messages.control import Connect, Open
from tests.actors.faulty_disk import FAILSAFE_S
from tests.log_events import told

DISPATCHERS = {"caller": CallerDispatcher, "threads": ThreadsDispatcher}


class Struck(BaseException):
    """What a program's own signal handler raises."""


@pytest.fixture(params=["caller", "threads"])
def dispatcher(request):
    return request.param


@pytest.fixture
def path(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        db.put("run", "k", 1)
    before = set(threading.enumerate())
    refs = pykka.ActorRegistry.get_all()
    yield tmp_path / "db"
    for thread in set(threading.enumerate()) - before:
        # Those of closed lanes may have a line to go.
        thread.join(FAILSAFE_S)
        assert not thread.is_alive(), thread.name
    assert pykka.ActorRegistry.get_all() == refs


@pytest.fixture
def struck():
    """Set when the main thread has seen the signal, which comes a little later than it is sent."""
    return threading.Event()


@pytest.fixture(params=["ours", "the program's"])
def interrupt(request, struck, monkeypatch):
    """Which exception Ctrl-C means, by whose handler."""
    on_sigint = interrupts._on_sigint

    def ours(*args):
        struck.set()
        on_sigint(*args)

    def strike(*_):
        struck.set()
        raise Struck

    monkeypatch.setattr(interrupts, "_on_sigint", ours)

    before = signal.signal(signal.SIGINT, signal.default_int_handler if request.param == "ours" else strike)
    yield KeyboardInterrupt if request.param == "ours" else Struck
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("recovers", [True, False])
def test_during_recovery(path, dispatcher, interrupt, recovers, struck, monkeypatch):
    given_back = threading.Event()
    open_log, give_back = supervisor.open_log, system.give_back

    def interrupted(*args):
        if threading.current_thread() is threading.main_thread():
            # Its own handler waits for the end of this one.
            signal.raise_signal(signal.SIGINT)
        else:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            struck.wait(FAILSAFE_S)
            if interrupt is Struck:
                # Ours may keep it back until this is over.
                given_back.wait(FAILSAFE_S)
        if not recovers:
            raise inmem.StorageError("injected")
        return open_log(*args)

    def give_back_now(ref):
        given_back.set()
        give_back(ref)

    with monkeypatch.context() as patch:
        patch.setattr(supervisor, "open_log", interrupted)
        patch.setattr(system, "give_back", give_back_now)
        with pytest.raises(interrupt):
            inmem.open(path, dispatcher=dispatcher)
    with inmem.open(path, dispatcher=dispatcher) as db:
        assert db.get("run", "k") == 1


@pytest.mark.parametrize("kind", [Open, Connect])
@pytest.mark.parametrize("when", ["before", "after"])
def test_around_a_message(path, dispatcher, kind, when, monkeypatch):
    dispatcher_class = DISPATCHERS[dispatcher]
    ask = dispatcher_class.ask

    def interrupted(self, mailbox, message, timeout_s):
        answer = ask(self, mailbox, message, timeout_s) if type(message) is not kind or when == "after" else None
        if type(message) is kind:
            raise Struck
        return answer

    monkeypatch.setattr(dispatcher_class, "ask", interrupted)
    with pytest.raises(Struck):
        inmem.open(path, dispatcher=dispatcher)
    monkeypatch.undo()
    with inmem.open(path, dispatcher=dispatcher) as db:
        assert db.get("run", "k") == 1


@pytest.mark.parametrize("lasting", [False, True])
def test_no_thread_can_be_started(path, dispatcher, lasting, monkeypatch):
    """Whichever thread it is, and whether there are some again for the close or not."""
    start = threading.Thread.start
    for number in range({"caller": 2, "threads": 13}[dispatcher]):
        started = []

        def refuse(thread, number=number, started=started):
            started.append(thread)
            if len(started) == number + 1 or (lasting and len(started) > number):
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            inmem.open(path, dispatcher=dispatcher)
        monkeypatch.undo()
        inmem.open(path, dispatcher=dispatcher).close()


def test_what_cannot_be_closed_again_is_told_and_let_go_of(path, dispatcher, monkeypatch, events):
    dispatcher_class = DISPATCHERS[dispatcher]
    ask = dispatcher_class.ask

    def interrupted(self, mailbox, message, timeout_s):
        if type(message) is Connect:
            raise Struck
        return ask(self, mailbox, message, timeout_s)

    def fail(_supervisor):
        raise OSError("injected")

    with monkeypatch.context() as patch:
        patch.setattr(dispatcher_class, "ask", interrupted)
        patch.setattr(supervisor.Supervisor, "_start_closing", fail)
        with pytest.raises(Struck):
            inmem.open(path, dispatcher=dispatcher)
    (refused,) = told(events, "warning", "not_closed_cleanly")
    assert list(refused) == ["error"]
    assert "injected" in refused["error"]
    with inmem.open(path, dispatcher=dispatcher) as db:
        assert db.get("run", "k") == 1
