"""The main workload over many seeds: a fixed range, the same in every run, and a fresh one.

INMEM_SEEDS says how many seeds the fixed range has; the fresh one has a tenth of that, and begins at INMEM_FRESH_START,
which the head of every run shows. CI runs 1,500 and 150.
"""

import os

import pytest

from inmem.simulation import Faults, explore
from inmem.simulation.exploration import attempt, chooser_for
from tests.simulation.workload import workload

SEEDS = int(os.environ.get("INMEM_SEEDS", "200"))

FAULTS = {
    "none": Faults(),
    "crashes": Faults.crashes(),
    "failing actors": Faults(actor_crash=True),
    "disk": Faults(failed_sync=0.02, slow_sync=0.05, full_disk=0.02),
    "clock": Faults(clock_jumps=0.05),
    "everything": Faults.everything(),
}
FRESH_START = int(os.environ["INMEM_FRESH_START"])
"""A range that nobody has run before. A failure names its seed, so that it can be run again."""


@pytest.mark.parametrize("kind", FAULTS)
def test_every_promise_holds_in_a_fixed_range_of_seeds(kind):
    assert explore(workload, max(1, SEEDS // len(FAULTS)), faults=FAULTS[kind])


@pytest.mark.parametrize("kind", FAULTS)
def test_every_promise_holds_in_a_fresh_range_of_seeds(kind):
    assert explore(workload, max(1, SEEDS // 10 // len(FAULTS)), first_seed=FRESH_START, faults=FAULTS[kind])


def test_one_seed_can_be_run_alone():
    assert attempt(workload, chooser_for(3), 3, Faults.everything()) is None
