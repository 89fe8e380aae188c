"""A `timeout` counts from the call: that the store takes its time to begin the transaction is no way around it."""

import threading

import pytest

import inmem
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, open_on
from tests.actors.held_clock import HeldClock

SHORT_S = 0.02
"""How long the store is waited for in vain: it is held up for as long as that takes."""


@pytest.fixture
def clock():
    return HeldClock()


@pytest.fixture
def disk(tmp_path):
    return FaultyDisk(tmp_path / "db")


@pytest.fixture(params=["caller", "threads"])
def db(request, disk, clock):
    with open_on(disk, dispatcher=request.param, clock=clock) as opened:
        yield opened
        disk.repair()
        clock.let_go()


class Elsewhere:
    """Work in another thread."""

    def __init__(self, work):
        self._results = []
        self._thread = threading.Thread(target=lambda: self._results.append(work()), daemon=True)
        self._thread.start()

    @property
    def is_done(self):
        return not self._thread.is_alive()

    def result(self):
        self._thread.join(FAILSAFE_S)
        [result] = self._results
        return result


def by_transaction(db, timeout):
    db.transaction("run", lambda txn: txn.put("k", "late"), timeout=timeout)


def by_begin(db, timeout):
    with db.begin("run", timeout=timeout) as txn:
        txn.put("k", "late")


BOTH = pytest.mark.parametrize("write", [by_transaction, by_begin])


@BOTH
def test_a_begin_that_is_not_answered_in_time_is_given_up_and_leaves_no_transaction(db, clock, write):
    clock.hold()
    somebody = Elsewhere(lambda: db.begin("elsewhere").abort())
    assert clock.arrived.wait(FAILSAFE_S)
    with pytest.raises(inmem.TransactionTimeoutError, match="nothing was committed") as caught:
        write(db, SHORT_S)
    assert caught.value.timeout_s == SHORT_S
    assert not somebody.is_done
    clock.let_go()
    somebody.result()
    # Also while somebody keeps the exception, and with it all that its traceback holds.
    assert db.stats().active_transactions == 0
    assert caught.value.__context__ is None
    assert (db.get("run", "k"), db.version) == (None, 0)


@BOTH
@pytest.mark.parametrize("db", ["caller"], indirect=True)
def test_so_it_is_behind_a_write_that_waits_for_the_disk(db, disk, write):
    """Under `caller`, where the log is written by the thread that runs the actors."""
    # The log has begun then: who makes a new file of it waits for the disk in another thread.
    db.put("elsewhere", "k", 0)
    gate = disk.gate("append")
    writer = Elsewhere(lambda: db.put("elsewhere", "k", 1))
    assert gate.arrived.wait(FAILSAFE_S)
    done_before = len(disk.history)
    with pytest.raises(inmem.TransactionTimeoutError):
        write(db, SHORT_S)
    assert len(disk.history) == done_before, "it did not have to wait for the disk"
    gate.open()
    assert writer.result() == 2
    assert db.stats().active_transactions == 0
    assert (db.get("run", "k"), db.version) == (None, 2)


@BOTH
def test_the_time_that_the_store_takes_to_begin_is_counted(db, clock, write):
    clock.costs_s = FAILSAFE_S
    with pytest.raises(inmem.TransactionTimeoutError) as caught:
        write(db, FAILSAFE_S)
    assert caught.value.timeout_s == FAILSAFE_S
    assert db.stats().active_transactions == 0
    assert db.get("run", "k") is None


def test_a_function_is_not_called_when_its_time_was_over_before(db, clock):
    clock.costs_s = FAILSAFE_S
    calls = []
    with pytest.raises(inmem.TransactionTimeoutError):
        db.transaction("run", calls.append, timeout=FAILSAFE_S)
    assert not calls


def test_a_commit_that_is_withdrawn_tells_the_time_of_the_whole_call(db, clock, disk):
    """It waits for another one that touches the same key, after a begin that took half of the time."""
    txn = db.begin("run")
    txn.put("k", "first")
    gate = disk.gate("sync")
    winner = Elsewhere(txn.commit)
    assert gate.arrived.wait(FAILSAFE_S)
    clock.costs_s = FAILSAFE_S
    with pytest.raises(inmem.TransactionTimeoutError) as caught:
        by_transaction(db, FAILSAFE_S + SHORT_S)
    assert caught.value.timeout_s == FAILSAFE_S + SHORT_S
    gate.open()
    assert winner.result() == 1
    assert db.stats().active_transactions == 0
    assert db.get("run", "k") == "first"


def test_a_commit_by_a_handle_that_was_closed_leaves_no_transaction(db):
    other = inmem.connect(db.directory.supervisor)
    txn = other.begin("run")
    txn.put("k", 1)
    other.close()
    with pytest.raises(inmem.DatabaseClosedError):
        txn.commit()
    assert txn.status == "aborted"
    assert db.stats().active_transactions == 0


def test_a_transaction_that_has_lost_does_not_run_any_more(db):
    txn = db.begin("run")
    txn.put("k", txn.get("k"))
    db.put("run", "k", 1)
    with pytest.raises(inmem.ConflictError):
        txn.commit()
    assert db.stats().active_transactions == 0


def test_a_function_that_cannot_be_called_is_refused_by_name(db):
    with pytest.raises(inmem.UsageError, match="fn: must be a function that takes the transaction, not NoneType"):
        db.transaction("run", None)
    assert db.stats().active_transactions == 0
