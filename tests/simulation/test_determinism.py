"""The same seed gives the same messages, byte for byte, in any process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inmem.simulation import Faults, Simulation, as_text
from inmem.simulation.exploration import chooser_for
from tests.simulation.workload import workload

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys
from tests.simulation.test_determinism import trace
sys.stdout.write("\\n".join(trace(seed, faulty) for seed in range(12) for faulty in (False, True)))
"""


def trace(seed, faulty):
    sim = Simulation(seed, Faults.everything() if faulty else Faults(), chooser=chooser_for(seed))
    sim.check(workload)
    return as_text(sim.steps)


def trace_in_another_process(hash_seed):
    # Imported as an installed package would be, and as little alike as two processes can be.
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    paths = [str(ROOT), *(path for path in sys.path if path)]
    program = f"import sys; sys.path[:0] = {paths!r}\n{PROGRAM}"
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    return result.stdout


@pytest.fixture(scope="module")
def traces():
    return [trace_in_another_process(hash_seed) for hash_seed in (0, 4711)]


def test_the_same_seed_gives_the_same_trace_in_processes_with_other_hash_seeds(traces):
    assert len(traces[0]) > 100_000
    assert traces[0] == traces[1]


def test_a_trace_shows_no_memory_address(traces):
    assert " at 0x" not in traces[0]


def test_the_same_seed_gives_the_same_trace_twice_in_one_process():
    assert trace(5, True) == trace(5, True)


def test_another_seed_gives_another_trace():
    assert trace(0, False) != trace(1, False)
