"""Before the first run and after the last nobody disturbs the scenario, and nothing that is raised then gets lost."""

import contextlib

import pykka
import pytest

import inmem
from inmem.simulation import ScenarioError, Simulation, SimulationFailure, explore

SEEDS = 20


def test_clients_begin_with_the_run():
    def scenario(sim):
        db = sim.open("db")
        begun = []
        sim.spawn(begun.append, "first")
        for number in range(3):
            db.put("run", "k", number)
        sim.sleep(1)
        assert not begun
        sim.run()
        assert begun == ["first"]
        sim.spawn(begun.append, "second")
        db.put("run", "k", 3)
        assert begun == ["first"]
        sim.run()
        assert begun == ["first", "second"]

    assert explore(scenario, seeds=SEEDS) == SEEDS


def test_clients_that_a_client_spawns_begin_in_the_same_run():
    def scenario(sim):
        begun = []
        sim.spawn(lambda: sim.spawn(begun.append, 1))
        sim.run()
        assert begun == [1]

    assert explore(scenario, seeds=SEEDS) == SEEDS


def test_the_setup_does_not_swallow_what_a_client_raises():
    def scenario(sim):
        db = sim.open(memory=True)

        def client():
            raise inmem.CellNotFoundError("run", "the client's")

        sim.spawn(client)
        with contextlib.suppress(inmem.CellNotFoundError):
            db.cells.cas("run", "the scenario's", 1, 1)
        sim.run()

    for seed in range(SEEDS):
        with pytest.raises(inmem.CellNotFoundError, match="the client's"):
            Simulation(seed).check(scenario)


def test_clients_that_are_spawned_after_the_last_run_are_missed():
    def scenario(sim):
        db = sim.open(memory=True)

        def late():
            raise AssertionError("has begun")

        sim.run()
        sim.spawn(late)
        db.put("run", "k", 1)

    with pytest.raises(ScenarioError, match=r"without a sim\.run\(\) after it had spawned late"):
        explore(scenario, seeds=SEEDS)


class Fails(pykka.ThreadingActor):
    def on_receive(self, message):
        raise ValueError(message)


@pytest.mark.parametrize("runs", [True, False], ids=["run", "no run"])
def test_what_an_actor_raises_into_the_setup_is_raised_again(runs):
    def scenario(sim):
        db = sim.open(memory=True)
        Fails.start().tell("told")
        for number in range(10):
            with contextlib.suppress(ValueError):
                db.put("run", "k", number)
        if runs:
            with contextlib.suppress(ValueError):
                sim.run()

    with pytest.raises(SimulationFailure, match=r"^ValueError: told"):
        explore(scenario, seeds=SEEDS)


def test_what_a_run_raises_is_for_the_scenario_to_judge():
    def scenario(sim):
        def client():
            raise ValueError("expected")

        sim.spawn(client)
        with pytest.raises(ValueError, match="expected"):
            sim.run()

    assert explore(scenario, seeds=SEEDS) == SEEDS
