"""A run that does not come to rest: it is told in short, and blamed on who goes on."""

import pykka
import pytest

import inmem
from inmem.simulation import Endless, Faults, Simulation, SimulationFailure, explore, replay
from inmem.simulation.exploration import ENDLESS_CHOICES_MAX, chooser_for
from inmem.simulation.shrinking import ENDLESS_STEPS, ENDLESS_STEPS_MAX

TOTAL_STEPS_MAX = 3 * 21_000 + ENDLESS_STEPS_MAX + 12 * (ENDLESS_STEPS + 1_000)
"""Found, run once more and shown at full length; made smaller, and tried without faults, at less."""


def waits_for_nobody(sim: Simulation) -> None:
    """Ada takes the task for ever and dies; nobody else ever gets it."""
    db = sim.open("db")

    def work(name: str) -> None:
        while db.get("run", "done") is None:
            if db.get("run", "owner") is None:
                db.put("run", "owner", name)
                sim.sleep(1)
                db.put("run", "done", name)
            sim.sleep(1)

    sim.spawn(work, "Ada", name="Ada", restart=True)
    sim.spawn(work, "Ben", name="Ben", restart=True)
    sim.run()


def test_a_run_without_end_is_found_in_little_work_and_told_in_short():
    sims = []

    def scenario(sim):
        sims.append(sim)
        waits_for_nobody(sim)

    with pytest.raises(SimulationFailure) as caught:
        explore(scenario, seeds=50, faults=Faults(crash=True))
    failure = caught.value
    assert isinstance(failure.cause, Endless)
    first, *places = str(failure.cause).splitlines()
    assert first == "Ada and Ben go on without end, after 20,000 steps: is something missing that they wait for?"
    assert [place.partition(" is at ")[0].strip() for place in places] == ["Ada", "Ben"]
    assert all(f" is at {__file__}:" in place and ", in work: " in place for place in places)
    assert sum(map(bool, failure.choices)) == 1, "a crash will do"
    assert len(str(failure).splitlines()) < 80
    assert len(failure.as_mermaid().splitlines()) < 80
    found = next(index for index, sim in enumerate(sims) if len(sim.steps) > 20_000)
    assert sum(len(sim.steps) for sim in sims[found:]) < TOTAL_STEPS_MAX
    with pytest.raises(SimulationFailure) as again:
        replay(waits_for_nobody, seed=failure.seed, choices=failure.choices, faults=failure.faults)
    assert str(again.value.cause) == str(failure.cause)


def test_a_long_story_is_told_by_its_beginning_and_its_end():
    def scenario(sim):
        db = sim.open(memory=True)

        def client():
            for number in range(1_000):
                sim.note(f"number {number}")
            db.get("run", b"k")

        sim.spawn(client, name="Ada")
        sim.run()

    with pytest.raises(SimulationFailure) as caught:
        explore(scenario, seeds=1)
    said = str(caught.value).splitlines()
    gap = said.index("      … 941 steps left out …")
    assert (said[gap - 1].split(), said[gap + 1].split()) == (
        ["40", "Ada", "number", "39"],
        ["982", "Ada", "number", "981"],
    )
    assert "    Note over p0: … 941 steps left out …" in caught.value.as_mermaid().splitlines()
    assert len(caught.value.as_text().splitlines()) >= 1_000


def test_one_that_never_gives_up_is_named():
    def scenario(sim):
        db = sim.open(memory=True)

        def polls():
            while db.get("run", "never") is None:
                sim.sleep(1)

        sim.spawn(polls, name="Ada")
        sim.spawn(db.put, "run", "k", 1, name="Ben")
        sim.run()

    with pytest.raises(
        Endless, match=r"^Ada goes on without end, .* that it waits for\?\n    Ada is at .*, in polls: "
    ):
        Simulation(1, steps_max=500).check(scenario)


def test_actors_that_answer_each_other_for_ever_are_named():
    class Player(pykka.ThreadingActor):
        def on_receive(self, message):
            message["other"].tell({"other": self.actor_ref})

    def scenario(sim):
        one, two, _ = Player.start(), Player.start(), Player.start()
        one.tell({"other": two})
        sim.run()

    with pytest.raises(Endless, match=r"^Player and Player-2 go on without end"):
        Simulation(1, steps_max=3_000).check(scenario)


def test_a_timer_says_when_it_fires_in_seconds():
    def scenario(sim):
        sim.spawn(lambda: [sim.sleep(0.25), sim.sleep(60)], name="Ada")
        sim.run()
        assert [str(step) for step in sim.steps] == ["timer -> Ada: at 0.25 s", "timer -> Ada: at 60.25 s"]

    explore(scenario, seeds=5)


def hurried(sim: Simulation) -> None:
    """Each gives up only after twenty turns in a row, which chance does not bring, and the default order does."""
    db = sim.open("db")
    turns = [""]

    def look(name: str) -> None:
        while len(turns) < 20:
            db.get("run", "k")
            turns[:] = [*turns, name] if turns[-1] == name else [name]

    sim.spawn(look, "Ada", name="Ada")
    sim.spawn(look, "Ben", name="Ben")
    sim.run()


def test_one_that_needs_its_choices_without_end_is_replayed_by_its_seed():
    with pytest.raises(SimulationFailure) as caught:
        explore(hurried, seeds=1, first_seed=1)
    failure = caught.value
    assert len(failure.choices) > ENDLESS_CHOICES_MAX
    assert "found by seed 1. To replay the run:\n\n    replay(hurried, seed=1)\n\n" in str(failure)
    assert max(map(len, str(failure).splitlines())) <= 120
    assert failure.as_test("tests.simulation.test_endless").endswith("    replay(hurried, seed=1)\n")
    with pytest.raises(SimulationFailure) as again:
        eval(failure.command, {"replay": replay, "hurried": hurried})
    assert again.value.choices == failure.choices
    assert again.value.command == failure.command


def test_a_seed_replays_what_explore_did_with_it_whatever_made_its_choices():
    def scenario(sim):
        db = sim.open(memory=True)
        for name in ("Ada", "Ben", "Cid"):
            sim.spawn(db.put, "run", name, 1, name=name)
        sim.run()
        raise LookupError([step.sender for step in sim.steps])

    for seed in range(4):
        with pytest.raises(LookupError) as found:
            Simulation(seed, chooser=chooser_for(seed)).check(scenario)
        with pytest.raises(SimulationFailure) as replayed:
            replay(scenario, seed=seed)
        assert str(replayed.value.cause) == str(found.value)
    with pytest.raises(inmem.UsageError, match="seed: must be an int"):
        replay(scenario, seed="3")


def test_one_that_only_lets_others_run_is_named_as_well():
    def scenario(sim):
        db = sim.open(memory=True)
        done = []

        def pauses():
            while not done:
                sim.pause()

        sim.spawn(pauses, name="Ada")
        sim.spawn(db.put, "run", "k", 1, name="Ben")
        sim.run()

    with pytest.raises(Endless, match=r"^Ada goes on without end, after 500 steps: .*\n    Ada is at .*, in pauses: "):
        Simulation(1, steps_max=500).check(scenario)
