"""Users' own pykka actors in a simulation, unchanged."""

import pykka
import pytest

import inmem
from inmem import UsageError
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


def clerks_at_work(sim):
    two_clerks(sim)
    sim.run()


def test_real_actors_elsewhere_in_the_process_are_left_alone():
    class Bystander(pykka.ThreadingActor):
        use_daemon_thread = True

        def on_receive(self, message):
            return message

    ref = Bystander.start()
    try:
        Simulation(3, Faults.crashes()).check(clerks_at_work)
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


class Member(pykka.ThreadingActor):
    """Connects to the store that it is handed, as the README's agents do."""

    def __init__(self, store):
        super().__init__()
        self.db = inmem.connect(store)

    def on_receive(self, message):
        count = self.db.get(RUN, "count") or 0
        self.db.put(RUN, "count", count + 1)


def test_actors_that_connect_to_what_they_are_handed_are_interrupted_between_any_two_steps():
    def scenario(sim):
        db = sim.open(memory=True)
        for _ in range(2):
            Member.start(db).tell("count")
        sim.run()
        assert db.get(RUN, "count") == 2, "lost update"

    with pytest.raises(SimulationFailure, match="lost update") as caught:
        explore(scenario, seeds=100)
    assert {"Member", "Member-2"} <= {step.sender for step in caught.value.story}


def test_a_handle_on_a_handle_stays_good_over_crashes_and_not_over_a_close():
    crashes = []

    def scenario(sim):
        db = inmem.connect(sim.open())
        assert db.get(RUN, "count") is None

        def life():
            for number in range(db.get(RUN, "count") or 0, 3):
                db.put(RUN, "count", number + 1)

        sim.spawn(life, restart=True)
        sim.run()
        crashes.append(sim.crashes)
        assert db.get(RUN, "count") == 3
        sim.open().close()
        with pytest.raises(inmem.DatabaseClosedError):
            db.get(RUN, "count")
        again = sim.open()
        assert again.get(RUN, "count") == 3
        with pytest.raises(inmem.DatabaseClosedError):
            db.get(RUN, "count")
        again.close()
        with pytest.raises(inmem.DatabaseClosedError):
            inmem.connect(again)

    explore(scenario, seeds=60, faults=Faults.crashes())
    assert any(crashes)


class Orderly(Member):
    """Tells when it has stopped."""

    def __init__(self, store, stopped):
        super().__init__(store)
        self.stopped = stopped

    def on_stop(self):
        self.stopped.append("in good order")


def test_an_actor_that_dies_with_the_process_has_no_time_to_stop():
    crashes = []

    def scenario(sim):
        stopped = []
        db = sim.open()
        sim.spawn(lambda: Orderly.start(db, stopped).ask("count"))
        sim.run()
        crashes.append(sim.crashes)
        assert stopped == []
        pykka.ActorRegistry.stop_all()
        assert stopped == ([] if sim.crashes else ["in good order"])

    explore(scenario, seeds=60, faults=Faults(crash=True))
    assert {0, 1} <= set(crashes)


class Fragile(pykka.ThreadingActor):
    """Fails at whatever it is told."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_receive(self, message):
        raise self.error


class Prepared(Fragile):
    """Fails, and knows what to do about it."""

    seen = None

    def __init__(self, error, db):
        super().__init__(error)
        self.db = db

    def on_failure(self, exception_type, exception_value, traceback):
        self.db.put(RUN, "failed", str(exception_value))


class Clumsy(Prepared):
    """Fails over a failure."""

    def on_failure(self, exception_type, exception_value, traceback):
        raise LookupError("over a failure")


class StillBorn(pykka.ThreadingActor):
    """Fails before its first message, which `on_failure` is not told of."""

    def on_start(self):
        raise LookupError("at the start")

    def on_failure(self, exception_type, exception_value, traceback):
        raise AssertionError


class Struggling(pykka.ThreadingActor):
    """Fails when it is to stop."""

    def on_stop(self):
        raise LookupError("at the end")


def told(sim, ref):
    sim.spawn(ref.tell, "x")
    sim.run()


def fails_at_a_message(sim, db):
    told(sim, Fragile.start(LookupError("state is wrong")))


def fails_at_an_assertion_in_spite_of_on_failure(sim, db):
    told(sim, Prepared.start(AssertionError("state is wrong"), db))


def fails_at_an_expectation(sim, db):
    told(sim, Fragile.start(pytest.fail.Exception("state is wrong")))


def fails_over_a_failure(sim, db):
    told(sim, Clumsy.start(LookupError(), db))


def fails_at_the_start(sim, db):
    StillBorn.start()
    sim.run()


def fails_at_the_end(sim, db):
    Struggling.start().stop(block=False)
    sim.run()


@pytest.mark.parametrize(
    ("fails", "kind", "message"),
    [
        (fails_at_a_message, LookupError, "state is wrong"),
        (fails_at_an_assertion_in_spite_of_on_failure, AssertionError, "state is wrong"),
        (fails_at_an_expectation, pytest.fail.Exception, "state is wrong"),
        (fails_over_a_failure, LookupError, "over a failure"),
        (fails_at_the_start, LookupError, "at the start"),
        (fails_at_the_end, LookupError, "at the end"),
    ],
)
def test_what_an_actor_raises_and_nobody_else_hears_of_fails_the_run(fails, kind, message):
    with pytest.raises(SimulationFailure) as caught:
        explore(lambda sim: fails(sim, sim.open(memory=True)), seeds=5)
    assert type(caught.value.cause) is kind
    assert str(caught.value.cause) == message


def test_an_actor_with_an_on_failure_may_fail():
    def scenario(sim):
        db = sim.open(memory=True)
        told(sim, Prepared.start(LookupError("as it should"), db))
        assert db.get(RUN, "failed") == "as it should"

    assert explore(scenario, seeds=20) == 20


def test_whoever_asks_an_actor_hears_of_its_failure_and_decides():
    def scenario(sim):
        ref = Fragile.start(LookupError("no such thing"))

        def client():
            with pytest.raises(LookupError, match="no such thing"):
                ref.ask("x")

        sim.spawn(client)
        sim.run()

    assert explore(scenario, seeds=5) == 5


class Caller(pykka.ThreadingActor):
    """Asks somebody else when it is told to."""

    def on_receive(self, message):
        return message.ask(self.actor_ref) if isinstance(message, pykka.ActorRef) else None


def test_actors_that_were_told_to_and_wait_for_each_other_for_ever_are_found():
    def scenario(sim):
        one, two = Caller.start(), Caller.start()
        sim.spawn(one.tell, two)
        sim.spawn(two.tell, one)
        sim.run()

    with pytest.raises(SimulationFailure, match="Caller waits for a reply, Caller-2 waits for a reply"):
        explore(scenario, seeds=100)


class Watching(pykka.ThreadingActor):
    """Follows the store for as long as it lives."""

    def __init__(self, db, seen):
        super().__init__()
        self.db = db
        self.seen = seen

    def on_start(self):
        for change in self.db.watch(RUN, after_version=0):
            self.seen.append(change.version)


def test_an_actor_may_wait_for_changes_for_ever():
    def scenario(sim):
        db = sim.open(memory=True)
        seen = []
        Watching.start(db, seen)
        sim.spawn(db.put, RUN, "k", 1)
        sim.run()
        assert seen == [1]

    assert explore(scenario, seeds=20) == 20


NOT_RUN = r"^the scenario has ended without a sim\.run\(\) while actors had something to do: "


def test_actors_that_were_told_something_and_never_run_are_named():
    def scenario(sim):
        db = sim.open(memory=True)
        for _ in range(2):
            Clerk.start(db, "one").tell("by the way")
        Clerk.start(db, "idle")

    with pytest.raises(UsageError, match=NOT_RUN + r"Clerk, Clerk-2(\n|$)"):
        explore(scenario)


def test_actors_that_were_told_something_after_the_last_run_are_named():
    def scenario(sim):
        _, one, _ = two_clerks(sim)
        one.tell("first")
        sim.run()
        one.tell("second")

    with pytest.raises(UsageError, match=NOT_RUN + r"Clerk(\n|$)"):
        explore(scenario)


def test_actors_that_have_work_from_their_start_are_named():
    def scenario(sim):
        StillBorn.start()

    with pytest.raises(UsageError, match=NOT_RUN + r"StillBorn(\n|$)"):
        explore(scenario)


def test_actors_may_be_stopped_after_the_last_run():
    def scenario(sim):
        _, one, two = two_clerks(sim)
        one.tell("first")
        sim.run()
        one.stop(block=False)
        two.stop()
        pykka.ActorRegistry.stop_all(block=False)

    assert explore(scenario, seeds=20) == 20
