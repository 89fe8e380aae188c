"""Whatever is cut short while actors halt or retire is made up for: nobody is left half-way, and nobody hangs."""

import contextlib
import threading

import pytest

import inmem
from inmem.actors.core import core_keeper
from inmem.actors.core.core_keeper import CoreKeeper
from inmem.actors.dispatch import actor as actor_module
from inmem.actors.dispatch.actor import StoreActor
from inmem.actors.dispatch.mailbox import Mailbox
from inmem.engine.commits.shard import Shard
from tests.actors.stage import DISPATCHERS, FAILSAFE_S, in_threads

ACTORS = ("kv", "reaper", "watches", "shard-0", "log-disk", "checkpointer", "log-writer", "coordinator")


class StrikeError(BaseException):
    """Not even an Exception, as what is to end a thread."""


ERRORS = [MemoryError, RecursionError, StrikeError]


class Failing:
    """A function that raises, once, instead of doing its work: when it is armed and concerns one of these actors."""

    def __init__(self, monkeypatch, owner, name, concerns, error):
        self.is_armed = False
        original = getattr(owner, name)

        def failing(*args):
            if self.is_armed and concerns(*args):
                self.is_armed = False
                raise error
            return original(*args)

        monkeypatch.setattr(owner, name, failing)


def put(db, value):
    """It may be what is aborted, and its thread the one that is struck; the next one is neither."""
    with contextlib.suppress(inmem.TransactionAbortedError, RecursionError, StrikeError):
        db.put("run", "k", value)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("step", ["tell", "suspend"])
@pytest.mark.parametrize("name", ["log-disk", "checkpointer", "log-writer", "coordinator"])
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_an_actor_that_is_cut_short_while_it_halts_has_halted(tmp_path, monkeypatch, dispatcher, name, step, error):
    if step == "tell":
        halts = Failing(monkeypatch, actor_module, "Halted", lambda its_name, *_: its_name == name, error)
    else:
        halts = Failing(monkeypatch, Mailbox, "suspend", lambda mailbox: mailbox.name == name, error)
    fails = Failing(monkeypatch, Shard, "prepare", lambda *_: True, MemoryError)
    with inmem.open(tmp_path / "db", dispatcher=dispatcher) as db:
        db.put("run", "k", 0)
        fails.is_armed = halts.is_armed = True
        in_threads(lambda: put(db, 1))
        assert in_threads(lambda: db.put("run", "k", 2)) == [db.version]
        assert not fails.is_armed
        assert not halts.is_armed
        in_threads(db.recover)
        assert in_threads(lambda: db.put("run", "k", 3)) == [db.version]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_recovery_that_is_cut_short_between_two_halts_goes_on(tmp_path, monkeypatch, dispatcher, number, error):
    def recover():
        # Whoever runs what is cut short is told so, if it was meant for its thread.
        with contextlib.suppress(RecursionError, StrikeError):
            db.recover()

    made = []
    halt = Failing(monkeypatch, core_keeper, "Halt", lambda core: made.append(core) or len(made) == number, error)
    with inmem.open(tmp_path / "db", dispatcher=dispatcher) as db:
        db.put("run", "k", 0)
        halt.is_armed = True
        in_threads(recover)
        assert not halt.is_armed
        assert in_threads(lambda: db.put("run", "k", 1)) == [db.version]


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_recovery_that_cannot_be_begun_ends_the_store_and_is_refused(monkeypatch, dispatcher):
    def begin_or_fail(_):
        raise MemoryError

    db = inmem.open(":memory:", dispatcher=dispatcher)
    with monkeypatch.context() as patch:
        patch.setattr(CoreKeeper, "begin_anew", begin_or_fail)
        with pytest.raises(inmem.InmemError):
            in_threads(db.recover)
    with pytest.raises(inmem.DatabaseClosedError):
        in_threads(lambda: db.put("run", "k", 1))


@pytest.mark.parametrize("step", ["retire", "abandon"])
@pytest.mark.parametrize("name", ACTORS)
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_an_actor_that_fails_while_it_retires_has_retired(tmp_path, monkeypatch, dispatcher, name, step):
    before = threading.enumerate()
    fails = Failing(monkeypatch, StoreActor, step, lambda actor: actor.mailbox.name == name, MemoryError)
    db = inmem.open(tmp_path / "db", dispatcher=dispatcher)
    db.put("run", "k", 1)
    db.checkpoint()
    fails.is_armed = True
    in_threads(db.close)
    left = [thread for thread in threading.enumerate() if thread not in before and thread.name.startswith("inmem-")]
    for thread in left:
        thread.join(FAILSAFE_S)
    assert not any(thread.is_alive() for thread in left)
    assert not fails.is_armed
    with inmem.open(tmp_path / "db") as again:
        assert again.get("run", "k") == 1
