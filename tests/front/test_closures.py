"""A function that is given to `db.transaction` may be slow, never return, raise, or use the store: nobody is held up.

And a caller who has given up waiting is neither told a lie nor served twice.
"""

import threading

import pykka
import pytest

import inmem
from inmem import messages
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, open_on
from tests.actors.workload import in_parallel


@pytest.fixture(params=["caller", "threads"])
def dispatcher(request):
    return request.param


@pytest.fixture
def disk(tmp_path):
    return FaultyDisk(tmp_path / "db")


@pytest.fixture
def db(disk, dispatcher):
    opened = open_on(disk, dispatcher=dispatcher, shards=2)
    yield opened
    disk.repair()
    opened.close()


class Stuck:
    """A thread inside a function that does not return before it is let go."""

    def __init__(self, db):
        self.inside, self._go_on = threading.Event(), threading.Event()
        self.outcome = None
        self._thread = threading.Thread(target=self._run, args=[db], daemon=True)
        self._thread.start()
        assert self.inside.wait(FAILSAFE_S)

    def _run(self, db):
        try:
            self.outcome = db.transaction("run", self._work)
        except inmem.InmemError as error:
            self.outcome = error

    def _work(self, txn):
        txn.put("stuck", txn.get("stuck"))
        txn.put("mine", 1)
        self.inside.set()
        self._go_on.wait()
        return "done"

    def let_go(self):
        self._go_on.set()
        self._thread.join(FAILSAFE_S)
        assert not self._thread.is_alive()
        return self.outcome


def use_everything(db):
    db.put("run", "other", 1)
    db.transaction("run", lambda txn: txn.put("stuck", 1))
    db.events.futures.append("run", "type").get(timeout=FAILSAFE_S)
    db.checkpoint()
    db.flush()
    db.recover()
    assert db.verify().is_valid
    assert db.get("run", "other") == 1


def test_a_function_that_does_not_return_holds_nobody_up(db):
    stuck = [Stuck(db) for _ in range(3)]
    in_parallel(*[lambda: use_everything(db)] * 2)
    assert db.stats().active_transactions == 3
    # Its first attempt has lost, because others have written what it read; the second one commits.
    assert [each.let_go() for each in stuck] == ["done"] * 3
    assert db.get("run", "mine") == 1


def test_a_store_can_be_closed_under_a_function_that_does_not_return(db):
    stuck = Stuck(db)
    in_parallel(db.close)
    assert isinstance(stuck.let_go(), inmem.DatabaseClosedError)
    with inmem.open(db.path) as again:
        assert again.get("run", "mine") is None


def test_a_function_may_use_the_store(db):
    def work(txn):
        txn.put("outer", 1)
        use_everything(db)
        assert txn.start_version < db.version
        return db.transaction("elsewhere", lambda inner: inner.put("inner", 1) or "inner")

    in_parallel(lambda: db.transaction("run", work))
    assert (db.get("run", "outer"), db.get("elsewhere", "inner")) == (1, 1)


def test_a_function_may_even_close_the_store(db):
    def work(txn):
        txn.put("k", 1)
        db.close()

    def run():
        with pytest.raises(inmem.DatabaseClosedError):
            db.transaction("run", work)

    in_parallel(run)
    with inmem.open(db.path) as again:
        assert again.get("run", "k") is None


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_function_that_raises_leaves_nothing_behind(db, error):
    def work(txn):
        txn.put("k", 1)
        raise error

    with pytest.raises(error):
        db.transaction("run", work)
    assert db.get("run", "k") is None
    assert db.stats().active_transactions == 0
    use_everything(db)


def test_who_gives_up_waiting_can_ask_again_and_nothing_happens_twice(db, disk):
    """A timeout is no failure: what was asked for is being done, once, and the future knows how it ended."""
    gate = disk.gate("sync")
    future = db.events.futures.append("run", "by future")
    assert gate.arrived.wait(FAILSAFE_S)
    for _ in range(3):
        with pytest.raises(pykka.Timeout):
            future.get(timeout=0.001)
    with pytest.raises(pykka.Timeout):
        db._client.directory.supervisor.ask(messages.AppendEvent("run", "by ask", None), timeout=0.001)
    gate.open()
    assert future.get(timeout=FAILSAFE_S).sequence == 0
    assert future.get(timeout=FAILSAFE_S).sequence == 0
    db.events.append("run", "last")
    assert [event.event_type for event in db.events.iter("run")] == ["by future", "by ask", "last"]


@pytest.mark.parametrize("timeout", [0.0005, 0.005, 0.05])
def test_a_commit_whose_time_is_up_is_withdrawn_or_waited_for(db, disk, timeout):
    """While its sync takes for ever: once it has gone to the log, only the truth will do."""
    gate = disk.gate("sync")
    told = []

    def commit():
        try:
            txn = db.begin("run", timeout=timeout)
        except inmem.TransactionTimeoutError:
            # On a busy machine that is over before it has begun.
            told.append(None)
            return
        txn.put("k", 1)
        try:
            told.append(txn.commit())
        except inmem.TransactionTimeoutError:
            told.append(None)
        assert txn.status == ("aborted" if told[-1] is None else "committed")

    thread = threading.Thread(target=commit)
    thread.start()
    thread.join(2 * timeout)
    # It is one or the other: withdrawn already, or in the log and waiting for the disk.
    if thread.is_alive():
        gate.arrived.wait(1.0)
    gate.open()
    thread.join(FAILSAFE_S)
    assert not thread.is_alive()
    [version] = told
    db.put("run", "after", 1)
    assert db.get("run", "k") == (None if version is None else 1)
    assert db.version == (1 if version is None else version + 1)


def test_a_result_whose_type_cannot_be_hashed_is_returned(db):
    class Meta(type):
        __hash__ = None

        def __eq__(cls, other):
            return cls is other

    class Thing(metaclass=Meta):
        pass

    def fn(txn):
        txn.put("a", 1)
        return Thing()

    assert isinstance(db.transaction("run", fn), Thing)
    assert db.get("run", "a") == 1
