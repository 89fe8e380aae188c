"""Clients that would never come back are refused in words, with the place where they are."""

import contextlib
import threading

import pytest

import inmem
from inmem import UsageError
from inmem.simulation import Faults, clients, explore, stalls


def test_run_is_not_for_clients():
    def scenario(sim):
        db = sim.open("db")

        def client():
            db.put("run", "k", 1)
            sim.run()

        sim.spawn(client)
        sim.run()

    with pytest.raises(UsageError, match=r"^sim\.run\(\) is for the scenario"):
        explore(scenario, seeds=5)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(stalls, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(stalls, "STILL_LOOKS_MAX", 3)


def test_a_lock_that_two_clients_share_is_named(impatient):
    lock = threading.Lock()

    def increment(db):
        with lock:
            db.put("run", "k", (db.get("run", "k") or 0) + 1)

    def scenario(sim):
        db = sim.open(memory=True)
        sim.spawn(increment, db, name="Ada")
        sim.spawn(increment, db, name="Ben")
        sim.run()

    with pytest.raises(UsageError, match=r"^the client (Ada|Ben) has the turn and does not give it back") as caught:
        explore(scenario, seeds=20)
    assert "in increment\n    with lock:" in str(caught.value)
    # The one who waited has got the lock when the other one was ended, and was refused: it is gone as well.
    assert lock.acquire(timeout=60)


def test_a_stall_that_the_scenario_swallows_is_told_all_the_same(impatient):
    def scenario(sim):
        sim.spawn(threading.Event().wait, name="Ada")
        with contextlib.suppress(inmem.InmemError):
            sim.run()

    with pytest.raises(UsageError, match=r"^the client Ada has the turn and does not give it back"):
        explore(scenario, seeds=1)


def test_a_client_that_computes_is_waited_for(impatient):
    looks = []

    def scenario(sim):
        def busy():
            while len(looks) < 50:
                # In another place at every look, however slow the machine is.
                pass
            looks.clear()

        sim.spawn(busy)
        sim.run()

    class Watch(stalls.StallWatch):
        def is_stalled(self):
            looks.append(super().is_stalled())
            self._seen = []
            return looks[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clients, "StallWatch", Watch)
        assert explore(scenario, seeds=1) == 1


def test_a_client_that_waits_in_a_debugger_is_waited_for(impatient):
    at_prompt = threading.Event()
    looks = []
    names = {"__name__": "bdb", "wait": at_prompt.wait}
    exec("def interaction(): wait()", names)  # as a debugger's frame looks

    class Watch(stalls.StallWatch):
        def is_stalled(self):
            looks.append(super().is_stalled())
            if len(looks) > 20:
                at_prompt.set()
            return looks[-1]

    def scenario(sim):
        sim.spawn(names["interaction"])
        sim.run()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clients, "StallWatch", Watch)
        assert explore(scenario, seeds=1) == 1
    assert not any(looks)


def never_ending(db):
    while True:
        try:
            db.put("run", "k", 1)
        except:  # noqa: E722  (what is refused)
            continue
        else:
            return


def test_a_client_that_catches_its_own_end_is_named():
    def scenario(sim):
        sim.spawn(never_ending, sim.open("db"), name="Ada", restart=True)
        sim.run()

    with pytest.raises(UsageError, match=r"^the client Ada cannot be ended: it catches what ends it") as caught:
        explore(scenario, seeds=100, faults=Faults(crash=True))
    assert "in never_ending\n    db.put(" in str(caught.value)


def test_a_client_that_catches_its_own_end_does_not_hang_a_run_that_fails():
    def scenario(sim):
        db = sim.open("db")
        begun = []

        def endless():
            begun.append(True)
            while True:
                with contextlib.suppress(BaseException):
                    db.put("run", "k", 1)

        def fails():
            while not begun:
                sim.pause()
            raise AssertionError

        sim.spawn(endless, name="Ada")
        sim.spawn(fails)
        sim.run()

    with pytest.raises(UsageError, match=r"^the client Ada cannot be ended"):
        explore(scenario, seeds=20)


def test_clients_may_use_the_store_while_they_end():
    def careful(db):
        try:
            db.put("run", "k", 1)
        finally:
            try:
                db.put("run", "k", 2)
            finally:
                db.put("run", "k", 3)

    def scenario(sim):
        db = sim.open("db")
        sim.spawn(careful, db, restart=True)
        sim.run()
        assert db.get("run", "k") == 3

    assert explore(scenario, seeds=50, faults=Faults.crashes()) == 50
