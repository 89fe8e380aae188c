"""Users' own pykka actors in a simulation, unchanged."""

import pykka
import pytest

import inmem
from inmem.simulation import Faults, Simulation, SimulationFailure, explore
from tests.simulation.test_exploration import ROOT

RUN = "meeting"


class Clerk(pykka.ThreadingActor):
    """Keeps minutes in the store and asks its colleague for theirs."""

    def __init__(self, db, name):
        super().__init__()
        self.db = db
        self.name = name
        self.colleague = None

    def meet(self, colleague):
        self.colleague = colleague

    def greet(self, word):
        self.db.events.append(RUN, "greeted", [self.name, word])
        return f"{self.name} heard {word}"

    def speak(self, word):
        answer = self.colleague.proxy().greet(word).get()
        self.db.kv.put(RUN, self.name, answer)
        return answer

    def on_receive(self, message):
        if message == "fail":
            raise LookupError("no such thing")
        self.db.events.append(RUN, "told", message)
        return self.db.events.len(RUN)


def two_clerks(sim):
    db = sim.open(memory=True)
    one, two = Clerk.start(db, "one"), Clerk.start(db, "two")
    one.proxy().meet(two).get()
    two.proxy().meet(one).get()
    return db, one, two


def test_two_agents_ask_each_other_and_the_store():
    orders = set()

    def scenario(sim):
        db, one, two = two_clerks(sim)

        def visitor(clerk, word):
            assert clerk.proxy().speak(word).get() == f"{'two' if clerk is one else 'one'} heard {word}"

        sim.spawn(visitor, one, "hello", name="visitor")
        sim.run()
        sim.spawn(visitor, two, "goodbye", name="visitor")
        sim.spawn(one.tell, "by the way", name="teller")
        sim.run()
        assert db.get(RUN, "one") == "two heard hello"
        assert db.get(RUN, "two") == "one heard goodbye"
        orders.add(tuple(str(event.payload) for event in db.events.read_range(RUN, 0, 9)))

    explore(scenario, seeds=60)
    assert len(orders) == 2


def test_agents_that_ask_each_other_at_once_wait_for_ever_in_some_order_and_that_is_found():
    def scenario(sim):
        _, one, two = two_clerks(sim)
        sim.spawn(lambda: one.proxy().speak("after you").get(), name="first")
        sim.spawn(lambda: two.proxy().speak("no, after you").get(), name="second")
        sim.run()

    with pytest.raises(SimulationFailure, match="first waits for a reply, second waits for a reply"):
        explore(scenario, seeds=100)


def test_pykkas_failures_timeouts_and_stops_are_as_ever():
    def scenario(sim):
        db, one, two = two_clerks(sim)
        assert one.ask("first") == 1
        assert one.ask("second", block=False).get() == 2
        with pytest.raises(LookupError, match="no such thing"):
            one.ask("fail")
        assert pykka.ActorRegistry.get_by_class(Clerk) == [one, two]
        with pytest.raises(pykka.Timeout):
            silent(one).get(timeout=0.5)
        assert one.stop()
        assert not one.is_alive()
        with pytest.raises(pykka.ActorDeadError):
            one.ask("too late")
        assert pykka.ActorRegistry.get_by_class(Clerk) == [two]
        assert db.events.len(RUN) == 2

    before = pykka.ActorRegistry.get_all()
    explore(scenario, seeds=10)
    assert pykka.ActorRegistry.get_all() == before


def silent(ref):
    """Return a future that nobody will ever answer."""
    return ref.actor_class._create_future()


def test_agents_die_with_the_process_and_can_be_started_again():
    def life(db):
        clerk = Clerk.start(db, "clerk")
        for word in ("one", "two", "three"):
            if word not in [event.payload for event in db.events.read_range(RUN, 0, 9)]:
                clerk.ask(word)

    def scenario(sim):
        db = sim.open()
        sim.spawn(life, db, restart=True)
        sim.run()
        told = [event.payload for event in db.events.read_range(RUN, 0, 9)]
        assert sorted(set(told), key=told.index) == ["one", "two", "three"]

    explore(scenario, seeds=100, faults=Faults.crashes())


def test_real_actors_elsewhere_in_the_process_are_left_alone():
    class Bystander(pykka.ThreadingActor):
        use_daemon_thread = True

        def on_receive(self, message):
            return message

    ref = Bystander.start()
    try:
        Simulation(3, Faults.crashes()).check(lambda sim: (two_clerks(sim), sim.run()))
        assert ref.ask("still here", timeout=30) == "still here"
        with inmem.open(":memory:") as db:
            db.put("run", "k", 1)
    finally:
        ref.stop()


def test_the_race_of_the_documentation_is_found_and_its_correction_is_sound():
    import importlib.util

    spec = importlib.util.spec_from_file_location("race", ROOT / "examples" / "race.py")
    race = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(race)
    with pytest.raises(SimulationFailure) as caught:
        explore(race.two_hasty_agents, seeds=100)
    assert len(caught.value.story) <= 12
    assert explore(race.two_careful_agents, seeds=300) == 300
