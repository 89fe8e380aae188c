"""A transaction counts as running until it ends, or nobody holds it any more; no message tells of that."""

import gc
import sys
import threading
import weakref
from functools import partial

import pytest

import inmem
from inmem.actors.core.transaction_registry import TransactionRegistry
from inmem.actors.messages.control import Refresh
from inmem.actors.supervisor import Supervisor
from inmem.engine.commits.transaction import CommitRequest

DISPATCHERS = ("caller", "threads")


class StrikeError(BaseException):
    """Raised from outside, at any place."""


NEVER = 10**9


def struck_at(opcode, function):
    """Call a function, and raise at its n-th opcode; return whether it had so many.

    Python 3.12 and later trace opcodes only in code that has been traced before: strike it at `NEVER` first.
    """
    left = [opcode]

    def trace(frame, event, _):
        frame.f_trace_opcodes = True
        if event == "opcode":
            if not left[0]:
                raise StrikeError
            left[0] -= 1
        return trace

    before = sys.gettrace()
    # Python drops what is raised in a callback of the collector. Hypothesis has one.
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()
    sys.settrace(trace)
    try:
        function()
    except StrikeError:
        return True
    finally:
        sys.settrace(before)
        gc.callbacks[:] = callbacks
    return False


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_transaction_that_is_forgotten_has_ended(dispatcher):
    with inmem.open(":memory:", dispatcher=dispatcher) as db:
        txn = db.begin("run")
        other = db.begin("run")
        assert db.stats().active_transactions == 2
        del txn
        assert db.stats().active_transactions == 1
        assert db.stats().oldest_snapshot_version == other.start_version
        other.abort()
        assert db.stats().active_transactions == 0


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_transaction_that_is_forgotten_by_another_thread_has_ended(dispatcher):
    with inmem.open(":memory:", dispatcher=dispatcher) as db:
        held = [db.begin("run")]
        thread = threading.Thread(target=held.clear)
        thread.start()
        thread.join()
        assert db.stats().active_transactions == 0


def test_a_transaction_in_a_cycle_ends_with_the_cycle():
    with inmem.open(":memory:") as db:
        gc.collect()
        cycle = [db.begin("run")]
        cycle.append(cycle)
        del cycle
        assert db.stats().active_transactions == 1
        gc.collect()
        assert db.stats().active_transactions == 0


def test_an_end_that_is_told_twice_ends_nobody_else():
    registry = TransactionRegistry()
    lease, other = registry.begin(1, 10), registry.begin(2, 20)
    lease.end()
    lease.end()
    del lease
    assert registry.active_count() == 1
    assert registry.oldest() == (2, 20)
    other.end()
    assert registry.oldest() is None


def test_a_begin_that_is_cut_short_anywhere_leaves_no_transaction_running():
    opcode = 0
    registry = TransactionRegistry()
    assert not struck_at(NEVER, lambda: registry.begin(1, 10))
    while struck_at(opcode, lambda: registry.begin(1, 10)):
        assert registry.active_count() == 0
        opcode += 1
    assert opcode > 10
    assert registry.active_count() == 0


@pytest.mark.parametrize(
    "look",
    [TransactionRegistry.active_count, TransactionRegistry.oldest, lambda registry: registry.begin(9, 9)],
    ids=["active_count", "oldest", "begin"],
)
def test_ends_are_noted_though_the_look_at_them_is_cut_short_anywhere(look):
    opcode = 0
    assert not struck_at(NEVER, partial(look, TransactionRegistry()))
    while True:
        registry = TransactionRegistry()
        leases = [registry.begin(number, number) for number in range(3)]
        leases[0].end()
        leases.clear()
        was_struck = struck_at(opcode, partial(look, registry))
        assert registry.active_count() == 0
        if not was_struck:
            break
        opcode += 1
    assert opcode > 10


class Local:
    """What the frame of an asker holds."""


def local_of_one_refused(ask, error):
    """Return a weak reference to a local of a function whose request was refused."""
    local = Local()
    with pytest.raises(error):
        ask()
    return weakref.ref(local)


def test_no_actor_keeps_the_frames_of_somebody_whom_it_has_refused():
    with inmem.open(":memory:") as db:
        db.put("run", "k", 1)
        local = local_of_one_refused(lambda: db.cas("run", "k", 99, 2), inmem.ConflictError)
        gc.collect()
        assert local() is None


def test_the_supervisor_does_not_keep_them_either(monkeypatch):
    def fail(_):
        raise ZeroDivisionError

    monkeypatch.setattr(Supervisor, "_refresh", fail)
    with inmem.open(":memory:") as db:
        local = local_of_one_refused(lambda: db.directory.supervisor.ask(Refresh()), ZeroDivisionError)
        gc.collect()
        assert local() is None


@pytest.mark.parametrize("outcome", ["committed", "lost"])
def test_a_primitive_actor_keeps_no_commit_that_has_been_decided(outcome):
    with inmem.open(":memory:") as db:
        db.put("run", "k", 1)
        if outcome == "lost":
            with pytest.raises(inmem.ConflictError):
                db.cas("run", "k", 99, 2)
        gc.collect()
        assert [held for held in gc.get_objects() if isinstance(held, CommitRequest)] == []
