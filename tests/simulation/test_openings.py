"""Each opening of a simulated database takes the options that it is given, as those of a real one do."""

import contextlib

import pytest

import inmem
from inmem.simulation import BrokenPromise, Faults, ScenarioError, Simulation, explore, store

SMALL = inmem.Limits(value_bytes_max=10)
LONG = "a value of more than ten bytes"


def test_an_opening_takes_its_own_options_whatever_the_last_one_had():
    def shards(db):
        return sum(name.startswith("shard-") for name in db.stats().queue_depths)

    def syncs_each_commit(sim, db):
        db.put("run", "other", 1)
        disk = sim._stores["db"].disk
        before = disk.syncs
        db.put("run", "other", 2)
        return disk.syncs > before

    def scenario(sim):
        sim.open(limits=SMALL, shards=2, durability="never").close()
        with sim.open() as db:
            db.put("run", "k", LONG)
            assert shards(db) == 1
            assert syncs_each_commit(sim, db)
        with sim.open(limits=SMALL, shards=3, durability="never") as db:
            assert db.get("run", "k") == LONG
            with pytest.raises(inmem.InvalidValueError):
                db.put("run", "k", LONG)
            assert shards(db) == 3
            assert not syncs_each_commit(sim, db)

    assert explore(scenario, seeds=5) == 5


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"durability": "never"}, "durability"),
        ({"shards": 2, "limits": SMALL}, "shards, limits"),
        ({"memory": True}, "memory"),
    ],
)
def test_other_options_of_a_database_that_is_open_are_refused_by_name(options, named):
    def scenario(sim):
        db = sim.open("mine")
        assert sim.open("mine") is db
        with contextlib.suppress(ScenarioError):
            sim.open("mine", **options)

    with pytest.raises(ScenarioError, match=rf"^mine is open with other options \({named}\): "):
        explore(scenario, seeds=1)


def test_after_an_opening_that_failed_what_comes_is_explored_all_the_same(monkeypatch):
    def fails(*_arguments, **_options):
        raise inmem.StorageError("no such disk")

    def scenario(sim):
        with monkeypatch.context() as patch:
            patch.setattr(store, "start_supervisor", fails)
            with pytest.raises(inmem.StorageError, match="no such disk"):
                sim.open("broken")
        assert not sim._scheduler.calm
        sim.open("sound")

    assert explore(scenario, seeds=1) == 1


def test_options_are_judged_although_the_database_is_open():
    def scenario(sim):
        sim.open()
        sim.open(shards=0)

    with pytest.raises(inmem.UsageError, match=r"^shards: "):
        Simulation(0).check(scenario)


def test_a_database_in_memory_begins_empty_each_time():
    def scenario(sim):
        for number in range(3):
            db = sim.open(memory=True)
            assert db.get("run", "k") is None
            sim.spawn(db.put, "run", "k", number)
            sim.run()
            db.close()
        sim.run()

    assert explore(scenario, seeds=20, faults=Faults(actor_crash=True)) == 20


def test_a_folder_keeps_what_is_in_it_while_a_database_in_memory_has_its_name():
    def scenario(sim):
        with sim.open() as db:
            db.put("run", "k", "on the disk")
        with sim.open(memory=True) as db:
            assert db.get("run", "k") is None
            db.put("run", "k", "in memory")
            sim.run()
        with sim.open() as db:
            assert db.get("run", "k") == "on the disk"
            sim.run()

    assert explore(scenario, seeds=5) == 5


def test_what_one_opening_promised_is_looked_for_at_a_weaker_one():
    def scenario(sim):
        with sim.open() as db:
            db.put("run", "k", 1)
        disk = sim._stores["db"].disk
        for name in disk.names():
            disk.remove(name)
        sim.open(durability="never")

    with pytest.raises(BrokenPromise, match="version 1 was acknowledged, only 0 was recovered"):
        Simulation(0).check(scenario)


def test_only_what_a_weak_opening_has_acknowledged_may_be_lost():
    lost = []

    def scenario(sim):
        left, promised = ["always", "never", "always", "interval", "always"], []

        def life():
            while left:
                # After a crash the store is as it was, open or not: so this one begins where it was.
                with sim.open(durability=left[0]) as db:
                    key = f"{left[0]} {len(left)}"
                    db.put("run", key, 1)
                    if left[0] == "always":
                        promised.append(key)
                    assert {key for key, _ in db.kv.list_with_values("run")}.issuperset(promised)
                left.pop(0)

        sim.spawn(life, restart=True)
        sim.run()
        lost.append(sim.lost)

    explore(scenario, seeds=150, faults=Faults.crashes())
    assert any(lost)
