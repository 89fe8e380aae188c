"""The simulation finds every bug that is planted for it, within a stated number of seeds."""

import re
import sys

import pytest

from inmem.simulation.exploration import attempt, chooser_for
from tests.simulation.planted import PLANTED
from tests.simulation.workload import workload


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug, monkeypatch, record_property):
    reset = bug.plant(monkeypatch)

    def scenario(sim):
        reset()
        workload(sim)

    for seed in range(bug.seeds):
        run = attempt(scenario, chooser_for(seed), seed, bug.faults)
        if run is not None:
            finding = f"{type(run.cause).__name__}: {run.cause}"
            assert re.match(bug.finding, finding), f"seed {seed} failed for another reason than the bug: {finding}"
            found = f"{bug.name}: found by seed {seed}, allowed {bug.seeds}: {finding}"
            sys.stdout.write(found.splitlines()[0] + "\n")
            record_property("found", found)
            return
    pytest.fail(f"{bug.name}: not found within {bug.seeds} seeds")


def test_the_list_is_that_of_the_plan():
    assert len({bug.name for bug in PLANTED}) == len({bug.plant for bug in PLANTED}) == 12
