"""The fixture `simulate` and its options, in a pytest of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

TESTS = """
from tests.simulation.test_exploration import racy, sound

def test_race(simulate):
    simulate(racy, seeds=50)

def test_sound(simulate):
    print("schedules:", simulate(sound, seeds=20))
"""


@pytest.fixture
def run_pytest(tmp_path):
    (tmp_path / "test_agents.py").write_text(TESTS, encoding="utf-8")

    def run(*arguments):
        plugins = [] if is_installed() else ["-p", "inmem.simulation.pytest_plugin"]
        program = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", *plugins, *arguments]
        program += ["--rootdir", str(tmp_path), str(tmp_path)]
        return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False).stdout

    return run


def is_installed():
    from importlib.metadata import entry_points

    return any(point.value == "inmem.simulation.pytest_plugin" for point in entry_points(group="pytest11"))


def test_a_failure_names_the_command_that_runs_its_seed_again(run_pytest):
    output = run_pytest("-k", "race")
    assert "1 failed" in output
    command = next(line for line in output.splitlines() if "--sim-seed=" in line)
    assert "test_agents.py::test_race" in command
    assert "1 failed" in run_pytest("-k", "race", command.split()[-1].strip("'"))


def test_the_command_line_chooses_the_number_of_seeds(run_pytest):
    assert "schedules: 20" in run_pytest("-k", "sound")
    assert "schedules: 7" in run_pytest("-k", "sound", "--sim-seeds=7")
    assert "schedules: 1\n" in run_pytest("-k", "sound", "--sim-seed=7")
