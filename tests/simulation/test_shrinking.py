"""How much is done to make a failing run smaller, and how the smallest one is written down."""

import contextlib

import pytest

import inmem
from inmem.simulation import Endless, Faults, SimulationFailure, explore, replay, search
from inmem.simulation.choices import SeededChooser
from inmem.simulation.failure import FailingRun
from inmem.simulation.faults import kinds_of
from inmem.simulation.one_fault import with_one_kind
from inmem.simulation.shrinking import NEAR_STEPS_MAX, RUN_STEPS, SHRINK_STEPS_MAX, steps_worth_shrinking
from inmem.simulation.trace import WORLD
from tests.simulation.test_exploration import racy


def found(scenario, faults=None, seeds=300):
    with pytest.raises(SimulationFailure) as caught:
        explore(scenario, seeds=seeds, faults=faults)
    return caught.value


def dies(sim):
    db = sim.open("db")
    sim.spawn(db.put, "run", "k", 1, name="Ada")
    sim.run()
    assert db.get("run", "k") == 1


def race_after(sim, puts):
    db = sim.open("db")

    def client():
        for number in range(puts):
            db.put("run", "k", number)
            sim.sleep(1)
        value = db.get("run", "count") or 0
        db.put("run", "count", value + 1)

    sim.spawn(client, name="Ada")
    sim.spawn(client, name="Ben")
    sim.run()
    assert db.get("run", "count") == 2


def race(sim):
    race_after(sim, 0)


def test_a_failure_that_needs_no_faults_is_shown_without():
    failure = found(race, Faults.everything())
    assert failure.faults == Faults()
    assert "faults" not in failure.command
    assert len(failure.story) <= 8
    with pytest.raises(SimulationFailure):
        eval(failure.command, {"replay": replay, "race": race})


@pytest.mark.parametrize("expected", [0, 2], ids=["in any order", "by a race"])
def test_so_it_is_where_a_crash_cuts_a_long_run_short(expected):
    """A run without faults that takes much longer than the one that failed was taken for one without end."""

    def scenario(sim):
        db = sim.open("db")

        def client():
            value = db.get("run", "count") or 0
            db.put("run", "count", value + 1)
            for number in range(20):
                db.put("run", "k", number)

        sim.spawn(client, name="Ada")
        sim.spawn(client, name="Ben")
        sim.run()
        assert db.get("run", "count") == expected

    assert found(scenario, Faults.crashes()).faults == Faults()


def test_a_failure_that_needs_faults_is_shown_with_them():
    failure = found(dies, Faults.crashes())
    assert failure.faults == Faults.crashes()
    assert failure.command.endswith("faults=Faults.crashes())")
    with pytest.raises(SimulationFailure):
        eval(failure.command, {"replay": replay, "dies": dies, "Faults": Faults})


@pytest.mark.unmeasured
def test_the_work_is_bounded_by_steps_and_not_by_runs():
    sims = []

    def scenario(sim):
        sims.append(sim)
        race_after(sim, 30)

    failure = found(scenario)
    at_last = next(index for index, sim in enumerate(sims) if sim.seed == failure.seed)
    assert sum(len(sim.steps) for sim in sims[at_last:]) < SHRINK_STEPS_MAX + NEAR_STEPS_MAX + 10_000


@pytest.mark.parametrize("zeros", [3, 177])
@pytest.mark.parametrize("faults", [Faults(), Faults(crash=True), Faults.everything()])
def test_a_regression_test_has_lines_that_a_formatter_leaves_as_they_are(zeros, faults):
    failure = found(racy)
    failure.choices = [0] * zeros + [1, 1, 0, 0, 1] + [2] * 45
    failure.faults = faults
    source = failure.as_test("tests.simulation.test_exploration")
    assert max(map(len, source.splitlines())) <= 88
    assert ("[0] * 177" in source) == (zeros == 177)
    assert "[2] * 45" in source
    assert ("import Faults, replay" in source) == (faults != Faults())
    given = {}
    namespace = {}
    exec(source, namespace)
    namespace["replay"] = lambda scenario, **arguments: given.update(arguments)
    namespace[f"test_racy_seed_{failure.seed}"]()
    assert given.pop("faults", Faults()) == faults
    assert given == {"seed": failure.seed, "choices": failure.choices}


def test_only_what_was_made_smaller_is_called_the_smallest():
    with pytest.raises(SimulationFailure, match="To replay the smallest run that was found:"):
        search(racy, deviations_max=2)
    failure = found(racy)
    assert "To replay the smallest run that was found:" in str(failure)
    with pytest.raises(SimulationFailure, match=r"found by this replay\. To replay the run:"):
        replay(racy, seed=failure.seed, choices=failure.choices)


def fails_with_its_actor(sim):
    """It does enough for the process to die once or twice before the one fault that matters."""
    db = sim.open("db")

    def client(name):
        for number in range(4):
            with contextlib.suppress(inmem.TransactionAbortedError):
                db.put(name, f"k{number}", number)
        with contextlib.suppress(inmem.CellExistsError):  # it was there before a crash
            db.cells.init(name, "done", True)

    sim.spawn(client, "Ada", name="Ada", restart=True)
    sim.spawn(client, "Ben", name="Ben", restart=True)
    sim.run()


def happened(failure):
    return [str(step) for step in failure.steps if step.sender == WORLD]


def test_faults_of_kinds_that_do_not_matter_are_left_out():
    with pytest.raises(SimulationFailure, match="the cells actor failed") as caught:
        explore(fails_with_its_actor, seeds=1000, first_seed=100, faults=Faults(crash=True, actor_crash=True))
    failure = caught.value
    assert failure.faults == Faults(actor_crash=True)
    assert len(happened(failure)) == 1
    with pytest.raises(SimulationFailure):
        eval(failure.command, {"replay": replay, "fails_with_its_actor": fails_with_its_actor, "Faults": Faults})


def test_each_kind_of_faults_alone():
    assert kinds_of(Faults()) == []
    assert kinds_of(Faults(torn_writes=True)) == []
    assert kinds_of(Faults.crashes()) == [Faults.crashes()]
    crashes = Faults(crash=True, lost_names=True, crashes_max=1)
    both = Faults(crash=True, lost_names=True, crashes_max=1, failed_sync=0.5)
    assert kinds_of(both) == [crashes, Faults(failed_sync=0.5)]
    assert len(kinds_of(Faults.everything())) == 6


@pytest.mark.parametrize("cause", [LookupError(), Endless()])
def test_the_kinds_of_faults_take_at_most_half_of_the_work(cause):
    run = FailingRun([1], [], (), cause)
    runs = []

    def attempt(chooser, faults, steps_max):
        for _ in range(200):
            chooser.chance(0.1)
        runs.append(faults)
        return None, 1_000

    faults, found, spent = with_one_kind(
        Faults.everything(), run, attempt, lambda: [SeededChooser(seed) for seed in range(10)]
    )
    assert (faults, found) == (Faults.everything(), run)
    assert spent == len(runs) * (1_000 + RUN_STEPS)
    assert steps_worth_shrinking(run) // 4 < spent < steps_worth_shrinking(run) // 2 + 12 * (1_000 + RUN_STEPS)
    assert set(runs) == set(kinds_of(Faults.everything()))
    assert runs == sorted(runs, key=kinds_of(Faults.everything()).index)


def test_one_fault_is_tried_in_each_place_in_turn():
    seen = []

    def attempt(chooser, faults, steps_max):
        seen.append([chooser.choose(3), *(chooser.chance(0.1) for _ in range(3)), chooser.chance(0)])
        return None, 1

    with_one_kind(Faults(actor_crash=True), FailingRun([1], [], (), LookupError()), attempt, list)
    assert seen == [[0, *(place == fault for place in range(3)), False] for fault in range(4)]
