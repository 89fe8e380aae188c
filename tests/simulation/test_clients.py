"""What one client leaves behind is not there for the next one, and whatever a client raises is a finding."""

import asyncio
import contextvars
import sys

import pykka
import pytest

from inmem.simulation import SimulationFailure, explore

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
