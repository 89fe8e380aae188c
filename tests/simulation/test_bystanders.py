"""Threads that take no part in a simulation go on as if there was none, and there is one at a time."""

import queue
import threading

import pykka
import pytest

import inmem
from inmem.simulation import ScenarioError, Simulation, explore
from tests.simulation.test_exploration import sound


class Echo(pykka.ThreadingActor):
    def on_receive(self, message):
        return message, threading.current_thread() is not threading.main_thread(), len(pykka.ActorRegistry.get_all())


@pytest.fixture
def beside():
    """Returns a function that has a thread from before the simulation do something, and waits for it."""
    wanted, done = queue.Queue(), queue.Queue()

    def loop():
        for function in iter(wanted.get, None):
            try:
                done.put(function())
            except Exception as error:  # noqa: BLE001  (handed over)
                done.put(error)

    def do(function):
        wanted.put(function)
        return done.get(timeout=60)

    thread = threading.Thread(target=loop)
    thread.start()
    yield do
    wanted.put(None)
    thread.join()


def in_a_scenario(function):
    """Return what a function returns that a scenario calls."""
    returned = []

    def scenario(sim):
        sim.spawn(sim.open(memory=True).put, "run", "k", 1)
        sim.run()
        returned.append(function(sim))

    explore(scenario, seeds=1)
    return returned[0]


def test_their_actors_are_real_ones(beside):
    def use():
        known = len(pykka.ActorRegistry.get_all())
        ref = Echo.start()
        answer = ref.ask("hello", timeout=60)
        ref.stop(timeout=60)
        return answer, known, len(pykka.ActorRegistry.get_all())

    known = len(pykka.ActorRegistry.get_all())
    assert in_a_scenario(lambda _: beside(use)) == (("hello", True, known + 1), known, known)


def test_the_scenario_does_not_see_their_actors(beside):
    def look(_):
        ref = beside(Echo.start)
        is_seen = ref in pykka.ActorRegistry.get_all()
        beside(lambda: ref.stop(timeout=60))
        return is_seen

    assert in_a_scenario(look) is False


def test_their_stores_are_opened(beside):
    def use():
        with inmem.open(":memory:") as db:
            return db.put("run", "k", 1)

    assert in_a_scenario(lambda _: beside(use)) == 1


def test_a_second_simulation_beside_the_first_is_refused(beside):
    runtime = dict(vars(pykka.ThreadingActor))
    registry = pykka.ActorRegistry._actor_refs

    refused = in_a_scenario(lambda _: beside(lambda: Simulation().check(sound)))

    assert isinstance(refused, ScenarioError)
    assert str(refused).startswith("another simulation is running: ")
    assert dict(vars(pykka.ThreadingActor)) == runtime
    assert pykka.ActorRegistry._actor_refs is registry
    assert explore(sound, seeds=1) == 1


def test_a_simulation_within_another_one_is_refused():
    def scenario(sim):
        sim.open(memory=True)
        explore(sound, seeds=1)

    with pytest.raises(ScenarioError, match=r"^another simulation is running: "):
        explore(scenario, seeds=1)
