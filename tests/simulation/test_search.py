"""A search says that it is complete only of a scenario that takes the same course each time."""

import random

import pytest

from inmem.simulation import ScenarioError, Searched, search
from inmem.simulation.systematic import PathChooser

NOT_DETERMINISTIC = r"^The scenario is not deterministic: .*, so the search cannot say what it has tried\."


def test_what_an_earlier_run_has_left_behind_is_noticed():
    seen = []

    def scenario(sim):
        db = sim.open(memory=True)
        seen.append(1)
        for number in range(min(len(seen), 2)):
            sim.spawn(db.put, "run", f"k{number}", 1)
        sim.run()

    with pytest.raises(ScenarioError, match=NOT_DETERMINISTIC) as caught:
        search(scenario)
    assert caught.value.__notes__ == ["found by systematic search, run 1 once more"]


def test_a_longer_course_without_a_choice_is_noticed():
    seen = []

    def scenario(sim):
        db = sim.open(memory=True)
        seen.append(1)

        def write():
            for number in seen:
                db.put("run", "k", number)

        sim.spawn(write)
        sim.run()

    with pytest.raises(ScenarioError, match=NOT_DETERMINISTIC):
        search(scenario)


@pytest.mark.parametrize("seed", range(10))
def test_random_courses_are_noticed(seed):
    chance = random.Random(seed)

    def scenario(sim):
        db = sim.open(memory=True)

        def write(name):
            for _ in range(chance.randrange(4)):
                db.put("run", name, 1)

        for number in range(chance.randrange(2, 4)):
            sim.spawn(write, f"k{number}")
        sim.run()

    with pytest.raises(ScenarioError, match=NOT_DETERMINISTIC):
        search(scenario, runs_max=300)


def test_the_run_at_the_end_is_not_counted():
    ran = []

    def scenario(sim):
        ran.append(1)
        sim.spawn(sim.open(memory=True).put, "run", "k", 1)
        sim.run()

    assert search(scenario) == Searched(1, complete=True)
    assert len(ran) == 2


def test_a_chooser_tells_whether_it_has_left_its_path():
    chooser = PathChooser([(1, 2), (2, 3)])
    assert (chooser.choose(2), chooser.is_astray) == (1, True), "it has not come to the end"
    assert (chooser.choose(3), chooser.is_astray) == (2, False)
    assert (chooser.choose(4), chooser.is_astray) == (0, False)
    other = PathChooser([(2, 3)])
    assert (other.choose(2), other.is_astray) == (1, True)
