"""Schedules that Hypothesis chooses and shrinks."""

from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.internal.reflection import function_digest

from inmem.simulation import Faults, Simulation
from inmem.simulation.hypothesis_choices import HypothesisChooser, hypothesis_test
from tests.simulation.test_exploration import racy, sound
from tests.simulation.workload import workload

test_a_sound_scenario = settings(max_examples=50)(hypothesis_test(sound))
test_the_main_workload = settings(
    max_examples=10, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)(hypothesis_test(workload, faults=Faults.everything()))


def test_a_race_is_found():
    with pytest.raises(AssertionError):
        settings(max_examples=200, database=None, print_blob=False)(hypothesis_test(racy))()


def test_each_scenario_has_failures_of_its_own_in_the_database_of_hypothesis():
    """All scenarios had one key: what was found of one was tried on all, and thrown away by those it did not fail."""

    class Scenario:
        def __call__(self, sim):
            racy(sim)

    scenarios = [racy, sound, workload, lambda sim: (racy(sim), sound(sim)), partial(racy), Scenario()]
    tests = [hypothesis_test(scenario).hypothesis.inner_test for scenario in scenarios]
    assert len({function_digest(test) for test in tests}) == len(tests)
    assert function_digest(tests[0]) == function_digest(hypothesis_test(racy).hypothesis.inner_test)
    assert [test.__name__ for test in tests[:3]] == ["racy", "sound", "workload"]


def test_a_failing_schedule_shrinks_to_few_choices():
    def fails(data):
        chooser = HypothesisChooser(data)
        try:
            Simulation(0, chooser=chooser).check(racy)
        except AssertionError:
            lengths.append(sum(1 for choice in chooser.made if choice))
            return True
        return False

    lengths: list[int] = []
    find(st.data(), fails, settings=settings(max_examples=300, database=None, phases=[Phase.generate, Phase.shrink]))
    assert min(lengths) <= 5


@given(st.data())
@settings(max_examples=20)
def test_every_choice_is_one_of_the_alternatives(data):
    chooser = HypothesisChooser(data)
    assert all(0 <= chooser.choose(count) < count for count in range(1, 20))
    assert chooser.chance(0) is False
    assert chooser.chance(1) is True
