"""Watchers in every order that a seed can think of, with failing actors and dying processes."""

import contextlib

import pykka
import pytest

import inmem
from inmem import ChangeKind, WatchGapError, WatchLaggedError
from inmem.engine import retained_commits
from inmem.messages import Changed, Watch, WatchEnded
from inmem.simulation import BrokenPromise, Faults, Simulation, explore
from tests.simulation.workload import Workload

UNSURE = (inmem.TransactionAbortedError, inmem.StoreFailedError, inmem.CommitOutcomeUnknownError)


def write(db, name, count):
    for number in range(count):
        with contextlib.suppress(*UNSURE):
            db.kv.put(name, f"k{number}", number)


def check_history(db, changes):
    """The changes, in this order, lead to what is there; no version comes twice or out of order."""
    versions = [change.version for change in changes]
    assert versions == sorted(versions)
    places = [(change.version, change.run, change.key) for change in changes]
    assert len(places) == len(set(places)), "something is told twice"
    state = {}
    for change in changes:
        assert change.kind is ChangeKind.PUT
        state[change.run, change.key] = change.value
    runs = {run for run, _ in state} | {"a", "b"}
    assert state == {(run, key): value for run in runs for key, value in db.kv.list_with_values(run)}


def follow(watcher, into):
    for change in watcher:
        if change.key == "end":
            return
        into.append(change)


def write_in_two(sim, db, count):
    """Have two clients write at the same time; whatever befalls them, the last thing that happens is the end."""
    left = ["a", "b"]

    def writer(name):
        write(db, name, count)
        left.remove(name)
        while not left:
            with contextlib.suppress(*UNSURE):
                db.put("end", "end", 1)
                return

    for name in tuple(left):
        sim.spawn(writer, name)


def test_watchers_see_what_is_committed_in_its_order():
    def scenario(sim):
        db = sim.open(shards=1 + sim.seed % 3)
        seen = [[], []]
        for into in seen:
            sim.spawn(follow, db.watch(), into, name="watcher")
        write_in_two(sim, db, 4)
        sim.run()
        assert seen[0] == seen[1] == list(db.watch(after_version=0, timeout=0))[:-1]
        check_history(db, seen[0])

    explore(scenario, seeds=60)


def test_a_change_is_visible_to_whoever_was_told_of_it():
    def scenario(sim):
        db = sim.open(shards=2)

        def look():
            for change in db.watch(after_version=0, timeout=60):
                assert db.version >= change.version
                assert db.get(change.run, change.key) == change.value
                if change.version == 4:
                    return

        sim.spawn(look)
        sim.spawn(write, db, "a", 4)
        sim.run()

    explore(scenario, seeds=60)


@pytest.mark.parametrize("memory", [False, True])
def test_failing_actors_leave_no_gap_and_repeat_nothing(memory):
    def scenario(sim):
        db = sim.open(memory=memory, shards=1 + sim.seed % 2)
        seen = []
        sim.spawn(follow, db.watch(), seen, name="watcher")
        write_in_two(sim, db, 4)
        sim.run()
        check_history(db, seen)

    explore(scenario, seeds=120, faults=Faults(actor_crash=True))


def test_after_a_crash_a_watcher_goes_on_where_it_has_written_down_that_it_was():
    crashes = []

    def scenario(sim):
        db = sim.open()
        seen = []
        stands_at = [0]

        def watch():
            watcher = db.watch(after_version=stands_at[0])
            for change in watcher:
                if change.key == "end":
                    return
                # In one step, as if in one commit: what was seen, and up to where.
                seen.append(change)
                stands_at[0] = watcher.version

        def writer():
            write(db, "a", 5)
            db.put("end", "end", 1)

        sim.spawn(watch, restart=True)
        sim.spawn(writer, restart=True)
        sim.run()
        check_history(db, seen)
        crashes.append(sim.crashes)

    explore(scenario, seeds=120, faults=Faults.crashes())
    assert any(crashes)


def test_whoever_is_too_slow_is_told_so_and_can_go_on_from_the_state(monkeypatch):
    monkeypatch.setattr(retained_commits, "RETAINED_BYTES_MAX", 400)
    lagged = []

    def scenario(sim):
        db = sim.open()
        seen = {}

        def watch():
            version = 0
            while version < 12:
                try:
                    for change in db.watch(after_version=version):
                        seen[change.key] = change.value
                        version = change.version
                        if version == 12:
                            return
                        sim.pause()
                except WatchLaggedError as error:
                    lagged.append(error.version)
                    with db.begin("a") as txn:
                        seen.clear()
                        seen.update(txn.kv.list_with_values())
                        version = txn.start_version

        sim.spawn(watch, name="watcher")
        sim.spawn(write, db, "a", 12, name="writer")
        sim.run()
        assert seen == dict(db.kv.list_with_values("a"))

    explore(scenario, seeds=60)
    assert lagged


class Listener(pykka.ThreadingActor):
    def __init__(self, told):
        super().__init__()
        self.told = told

    def on_receive(self, message):
        self.told.append(message)


@pytest.mark.parametrize("faults", [Faults(), Faults(actor_crash=True)])
def test_an_actor_is_told_what_is_committed_in_its_order(faults):
    def scenario(sim):
        db = sim.open(memory=True)
        told = []
        listener = Listener.start(told)
        db.directory.supervisor.ask(Watch(listener))
        write_in_two(sim, db, 4)
        sim.run()
        changes = [change for message in told if isinstance(message, Changed) for change in message.changes]
        if not any(isinstance(message, WatchEnded) for message in told):
            check_history(db, changes[:-1])
            assert changes[-1].key == "end"
        versions = [message.version for message in told]
        assert versions == sorted(versions)

    explore(scenario, seeds=60, faults=faults)


def test_watchers_change_nothing_for_the_main_workload():
    def scenario(sim):
        workload = Workload(sim)

        def watch():
            # The weaker modes lose commits, and whoever watched is told.
            with contextlib.nullcontext() if workload.durability == "always" else contextlib.suppress(WatchGapError):
                list(workload.db.watch(timeout=5000))

        sim.spawn(watch, restart=True, name="watcher")
        workload.run()

    explore(scenario, seeds=40, faults=Faults.everything())


def test_who_watches_for_ever_is_told_of_the_timeout():
    def watch(db):
        for _ in db.watch():
            pass

    def in_a_client(sim):
        db = sim.open(memory=True)
        sim.spawn(watch, db)
        sim.spawn(db.put, "a", "k", 1)
        sim.run()

    for scenario, who in ((in_a_client, "watch"), (lambda sim: watch(sim.open(memory=True)), "main")):
        with pytest.raises(BrokenPromise, match=rf"{who} waits for a change that nobody will make \(.* a timeout=\)"):
            Simulation(0).check(scenario)
