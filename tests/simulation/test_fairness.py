"""Whoever waits by asking again and again leaves the others their turns, under every seed."""

import pytest

from inmem.simulation import Endless, Simulation, explore
from inmem.simulation.choices import FAIR_AFTER_STEPS, OVERTAKING_TIMERS_MAX, PriorityChooser
from inmem.simulation.exploration import PRIORITY_EVERY, chooser_for
from inmem.simulation.trace import TIMER

PRIORITY_SEEDS = range(PRIORITY_EVERY - 1, 40, PRIORITY_EVERY)
NAMES = ["planner", "poller", TIMER]


def polling(pollers, wait):
    def scenario(sim):
        db = sim.open("db")

        def poll():
            while db.get("plan", "ready") is None:
                wait(sim)

        sim.spawn(lambda: db.put("plan", "ready", 1), name="planner")
        for number in range(pollers):
            sim.spawn(poll, name=f"poller-{number}")
        sim.run()

    return scenario


@pytest.mark.parametrize(("pollers", "seed"), [(1, 263), (2, 15), (3, 3)])
def test_pollers_that_sleep_in_between_do_not_keep_a_planner_from_its_turn(pollers, seed):
    explore(polling(pollers, lambda sim: sim.sleep(1)), seeds=1, first_seed=seed)


def test_time_hardly_passes_while_a_planner_that_they_wait_for_could_go_on():
    for seed in PRIORITY_SEEDS:
        sim = Simulation(seed, chooser=chooser_for(seed))
        sim.check(polling(3, lambda sim: sim.sleep(1)))
        assert sim.now <= OVERTAKING_TIMERS_MAX + 1


def test_neither_do_pollers_that_only_let_others_run():
    choices = []
    for seed in PRIORITY_SEEDS:
        sim = Simulation(seed, chooser=chooser_for(seed))
        sim.check(polling(3, lambda sim: sim.pause()))
        choices.append(len(sim.choices))
    assert FAIR_AFTER_STEPS < max(choices) < 3 * FAIR_AFTER_STEPS


def test_who_polls_for_what_nobody_does_is_still_found_by_every_seed():
    def scenario(sim):
        db = sim.open("db")

        def poll():
            while db.get("plan", "ready") is None:
                sim.sleep(1)

        sim.spawn(poll, name="poller")
        sim.spawn(db.put, "plan", "other", 1, name="planner")
        sim.run()

    for seed in range(PRIORITY_EVERY):
        with pytest.raises(Endless, match=r"^poller goes on without end"):
            Simulation(seed, chooser=chooser_for(seed), steps_max=3 * FAIR_AFTER_STEPS).check(scenario)


def test_time_loses_its_priority_when_it_has_passed_often_enough():
    for seed in range(50):
        chooser = PriorityChooser(seed, depth=1)
        chosen = [NAMES[chooser.choose(3, lambda: NAMES)] for _ in range(FAIR_AFTER_STEPS)]
        assert chosen.count(TIMER) in (0, OVERTAKING_TIMERS_MAX)
        assert len(set(chosen[OVERTAKING_TIMERS_MAX:])) == 1


def test_priorities_end_where_chances_become_equal():
    chooser = PriorityChooser(1, depth=1)
    for _ in range(FAIR_AFTER_STEPS):
        chooser.choose(2, lambda: NAMES[:2])
    assert {chooser.choose(2, lambda: NAMES[:2]) for _ in range(50)} == {0, 1}
