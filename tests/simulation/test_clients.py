"""What one client leaves behind is not there for the next one, and whatever a client raises is a finding."""

import asyncio
import contextvars
import sys

import pykka
import pytest

from inmem.simulation import Faults, Simulation, SimulationFailure, explore
from inmem.simulation.trace import MAIN, is_taken

who = contextvars.ContextVar("who", default=None)


def test_each_client_begins_with_a_fresh_context():
    def scenario(sim):
        db = sim.open(memory=True)

        def agent(name):
            assert who.get() is None
            who.set(name)
            db.put("run", name, 1)
            assert who.get() == name

        sim.spawn(agent, "Ada")
        sim.spawn(agent, "Ben")
        sim.run()

    assert explore(scenario, seeds=20) == 20


def exits():
    sys.exit(0)


def is_closed():
    raise GeneratorExit


def is_cancelled():
    raise asyncio.CancelledError


class Exits(pykka.ThreadingActor):
    def on_receive(self, message):
        sys.exit(0)


@pytest.mark.parametrize(
    ("leaves", "error"),
    [
        (exits, SystemExit),
        (is_closed, GeneratorExit),
        (is_cancelled, asyncio.CancelledError),
        (lambda: Exits.start().tell("go"), SystemExit),
    ],
    ids=["exit", "closed", "cancelled", "actor"],
)
def test_a_client_that_leaves_without_an_error_is_a_finding(leaves, error):
    def scenario(sim):
        sim.spawn(leaves)
        sim.run()

    with pytest.raises(SimulationFailure) as caught:
        explore(scenario, seeds=1)
    assert type(caught.value.cause) is error


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit])
def test_a_scenario_that_leaves_does_so(error):
    def scenario(sim):
        sim.open(memory=True)
        raise error

    with pytest.raises(error):
        explore(scenario, seeds=1)


def test_no_two_clients_have_one_name():
    def scenario(sim):
        names = ["w", "w", "w-2", "w", "w-2"]
        for name in names:
            sim.spawn(sim.pause, name=name)
        Exits.start()
        sim.spawn(sim.pause, name="Exits")
        sim.run()
        assert len(sim.outsiders - {MAIN}) == len(names) + 2
        assert {"w", "w-2", "w-3", "Exits", "Exits-2"} < sim.outsiders

    assert explore(scenario, seeds=1) == 1


def test_no_client_has_the_name_of_somebody_in_the_store():
    def scenario(sim):
        seen = {"main"}
        for name in ("db", "other"):
            db = sim.open(name, shards=2)
            db.put("run", "k", 1)
            for work in (db.checkpoint, db.flush, lambda db=db: db.put("run", "k", 1)):
                sim.spawn(work)
        sim.run()
        seen |= {name for step in sim.steps for name in step[:2]} - sim.outsiders
        assert {"disk", "kv", "other/kv", "shard-0", "log-writer"} <= seen
        for name in seen | {"timer", "world", "other/shard-12"}:
            assert is_taken(name) or name == MAIN
            sim.spawn(sim.pause, name=name)
        sim.run()
        assert seen & sim.outsiders == {MAIN}
        assert {"kv-2", "other/kv-2", "main-2", "world-2"} < sim.outsiders

    Simulation(3, faults=Faults(slow_sync=0.5)).check(scenario)
