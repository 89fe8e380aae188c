"""Bugs that the simulation has found, each as the smallest scenario that shows it."""

import contextlib

import inmem
from inmem.actors.core import core
from inmem.actors.core.coordinator import Coordinator
from inmem.actors.requests.kv_actor import KVActor
from inmem.simulation import Faults, explore
from tests.simulation.linearizability import CellModel, Operation, check_linearizable


def test_an_actor_whose_group_lost_and_had_nothing_left_to_write_answers_the_next_request():
    # It took itself to be pausing before another attempt, and waited for a timer that nobody had set.
    def scenario(sim):
        db = sim.open(memory=True)
        db.cells.init("run", "cell", 0)

        def asks_twice():
            with contextlib.suppress(inmem.CasConflictError):
                db.cells.cas("run", "cell", 1, "swapped")
            db.cells.set("run", "cell", "set")

        sim.spawn(asks_twice)
        sim.spawn(lambda: db.transaction("run", lambda txn: txn.cells.set("cell", "other")), name="other")
        sim.run()

    explore(scenario, seeds=200)


def test_nobody_is_refused_because_of_a_write_that_came_to_nothing():
    # Two requests of one group: the second was refused because of what the first wrote, and then the disk was full.
    def scenario(sim):
        db = sim.open()
        db.cells.set("run", "cell", 0)
        done = []

        def swaps(value):
            called_at, returned_at = len(sim.steps), None
            result = None
            try:
                result = db.cells.cas("run", "cell", 1, value)
                returned_at = len(sim.steps) + 1
            except inmem.CasConflictError:
                result = "refused"
                returned_at = len(sim.steps) + 1
            except inmem.DiskFullError:
                return
            done.append(Operation(f"cas 1 {value}", CellModel.cas(1, value), result, called_at, returned_at))

        for value in range(3):
            sim.spawn(swaps, value, name=f"swaps-{value}")
        sim.run()
        check_linearizable(done, (1, 0, True))

    explore(scenario, seeds=300, faults=Faults(full_disk=0.2))


def test_a_tail_that_is_being_rewritten_survives_a_crash():
    # A sync had failed; the tail was carried over to a new segment; the process died before that was durable.
    def scenario(sim):
        db = sim.open()

        def writes():
            for value in range(6):
                try:
                    db.put("run", "k", value)
                except (inmem.StoreFailedError, inmem.TransactionAbortedError, inmem.CommitOutcomeUnknownError):
                    with contextlib.suppress(inmem.StoreFailedError):
                        db.recover()

        sim.spawn(writes, restart=True)
        sim.run()

    faults = Faults(crash=True, torn_writes=True, reordered_writes=True, lost_names=True, failed_sync=0.2)
    explore(scenario, seeds=1_100, faults=faults)


def test_a_run_is_deleted_however_busy_others_keep_it():
    # Whatever was put into the run since its snapshot made it lose, and there was always something.
    def scenario(sim):
        db = sim.open()
        db.runs.create_run("run")

        def keeps_busy(key):
            for step in range(6):
                db.put("run", key, step)

        for key in ("a", "b", "c"):
            sim.spawn(keeps_busy, key, name=key)
        sim.spawn(db.runs.delete_run, "run", name="deleter")
        sim.run()
        # The puts that were under way when the run went are done again, as one group. Nobody else has lost.
        assert db.stats().aborts <= 1
        assert db.runs.get_run("run") is None

    explore(scenario, seeds=200)


def test_a_request_that_brings_its_actor_down_is_answered_once(monkeypatch):
    # It was refused where it was carried out, and again when the actor failed over it.
    def breaks(actor, txn, message):
        raise RuntimeError("injected")

    monkeypatch.setattr(KVActor, "perform", breaks)

    def scenario(sim):
        db = sim.open(memory=True)
        with contextlib.suppress(inmem.TransactionAbortedError):
            db.put("run", "k", 1)

    explore(scenario, seeds=2)


def test_a_primitive_that_two_recover_at_once_takes_requests_again(monkeypatch):
    # Both halted its stand-in, and the second Halt reached the actor that had just taken the stand-in's place.
    perform = KVActor.perform
    broken = [True]

    def may_break(actor, txn, message):
        if broken[0]:
            raise RuntimeError("injected")
        return perform(actor, txn, message)

    monkeypatch.setattr(KVActor, "perform", may_break)

    def scenario(sim):
        broken[0] = True
        db = sim.open(memory=True)
        for _ in range(8):
            with contextlib.suppress(inmem.TransactionAbortedError, inmem.StoreFailedError):
                db.put("run", "k", 1)
        broken[0] = False
        sim.spawn(db.recover)
        sim.spawn(db.recover, name="another")
        sim.run()
        sim.spawn(db.put, "run", "k", 2)
        sim.run()
        assert db.get("run", "k") == 2

    explore(scenario, seeds=60)


def test_a_core_that_was_not_whole_keeps_nobody_waiting(monkeypatch):
    # Its log writer ran already when there was no memory for the coordinator. It took a request, wrote beside the next
    # core, and was replaced by the writer of that one, which knew of no request.
    failures = []

    class SometimesTooLarge(Coordinator):
        def __init__(self, *args, **named):
            if failures:
                raise failures.pop()
            super().__init__(*args, **named)

    monkeypatch.setattr(core, "Coordinator", SometimesTooLarge)

    def scenario(sim):
        failures.clear()
        db = sim.open(durability="never")
        db.put("run", "k", 1)
        failures.append(MemoryError())
        sim.spawn(db.recover)
        sim.spawn(db.flush)
        sim.spawn(db.flush, name="another")
        sim.spawn(db.checkpoint)
        sim.run()
        assert not failures
        assert db.put("run", "k", 2) == 2

    explore(scenario, seeds=30)


def test_whoever_swaps_from_the_version_of_its_own_put_swaps_nobody_elses():
    # Puts of one key that arrived together shared a commit, and so a version: a swap from it went over the last one.
    def scenario(sim):
        db = sim.open(memory=True)
        swapped = []

        def holds(name):
            version = db.put("run", "lock", name)
            with contextlib.suppress(inmem.CasConflictError):
                db.cas("run", "lock", version, f"{name} confirmed")
                swapped.append(name)

        for name in "abc":
            sim.spawn(holds, name, name=name)
        sim.run()
        with db.watch("run", after_version=0, timeout=0) as changes:
            told = [change.value for change in changes]
        assert len(told) == 3 + len(swapped), "a write that nobody was told of"
        for name in swapped:
            assert told[told.index(f"{name} confirmed") - 1] == name

    explore(scenario, seeds=200)
