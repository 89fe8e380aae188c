"""The fixture `simulate` and its options, in a pytest of their own."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

TESTS = """
import pytest

from tests.simulation.test_exploration import racy, sound

def test_race(simulate):
    simulate(racy, seeds=50)

@pytest.mark.parametrize("city", ["it's $HOME"])
def test_quoted(simulate, city):
    simulate(racy, seeds=50)

def test_sound(simulate):
    print("schedules:", simulate(sound, seeds=20))

def test_none(simulate):
    simulate(sound, seeds=0)
"""


@pytest.fixture
def run_pytest(tmp_path):
    (tmp_path / "test_agents.py").write_text(TESTS, encoding="utf-8")

    def run(*arguments):
        plugins = [] if is_installed() else ["-p", "inmem.pytest_plugin"]
        program = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", *plugins, *arguments]
        program += ["--rootdir", str(tmp_path), str(tmp_path)]
        result = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
        return result.stdout + result.stderr

    return run


def is_installed():
    from importlib.metadata import entry_points

    return any(point.value == "inmem_pytest" for point in entry_points(group="pytest11"))


def test_a_failure_names_the_command_that_runs_its_seed_again(run_pytest):
    output = run_pytest("-k", "race")
    assert "1 failed" in output
    command = next(line for line in output.splitlines() if "--sim-seed=" in line)
    assert "test_agents.py::test_race" in command
    assert "1 failed" in run_pytest("-k", "race", command.split()[-1].strip("'"))


def test_the_command_names_the_test_to_a_shell_whatever_is_in_its_id(run_pytest):
    output = run_pytest("-k", "quoted")
    command = next(line for line in output.splitlines() if "--sim-seed=" in line)
    assert shlex.split(command.removeprefix("E "))[1] == "test_agents.py::test_quoted[it's $HOME]"


def test_the_story_follows_the_test_and_nothing_of_the_package(run_pytest):
    output = run_pytest("-k", "race")
    shown = [line for line in output.splitlines() if "inmem/simulation/" in line and ".py:" in line]
    assert shown == []
    assert "E       inmem.simulation.SimulationFailure: AssertionError: " in output
    assert "sequenceDiagram" not in output


def test_the_command_line_chooses_the_number_of_seeds(run_pytest):
    assert "schedules: 20" in run_pytest("-k", "sound")
    assert "schedules: 7" in run_pytest("-k", "sound", "--sim-seeds=7")
    assert "schedules: 1\n" in run_pytest("-k", "sound", "--sim-seed=7")


@pytest.mark.parametrize("count", ["0", "-3"])
def test_no_seeds_at_all_are_refused(run_pytest, count):
    output = run_pytest("--sim-seeds", count)
    assert f"argument --sim-seeds: must be at least 1, not {count}: without a seed nothing would be tested" in output
    assert "passed" not in output
    assert "invalid" in run_pytest("--sim-seeds=many")


def test_one_seed_and_many_seeds_are_refused_together(run_pytest):
    output = run_pytest("--sim-seeds=3", "--sim-seed=4")
    assert "ERROR: --sim-seed is one seed, --sim-seeds is how many: give one of them" in output
    assert "passed" not in output


def test_a_seed_of_the_command_line_goes_before_a_number_of_seeds_that_is_configured(run_pytest, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--sim-seeds=3")
    assert "schedules: 3\n" in run_pytest("-k", "sound")
    assert "schedules: 1\n" in run_pytest("-k", "sound", "--sim-seed=7")


def test_a_test_that_asks_for_no_seeds_fails(run_pytest):
    output = run_pytest("-k", "none")
    assert "1 failed" in output
    assert "UsageError: seeds: must be an int of at least 1, not 0" in output


@pytest.mark.skipif(not is_installed(), reason="as it is, the plugin can only be reached through the package")
def test_a_run_that_simulates_nothing_imports_nothing_of_the_store(tmp_path):
    """Every pytest run of everybody who had inmem installed imported all of it."""
    (tmp_path / "test_plain.py").write_text("def test_plain(): pass\n", encoding="utf-8")
    run = "import pytest, sys; code = pytest.main(sys.argv[1:]); print(*sys.modules); sys.exit(code)"

    def imported(*arguments):
        program = [sys.executable, "-c", run, "-q", "-p", "no:cacheprovider", *arguments, "test_plain.py"]
        result = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
        return set(result.stdout.splitlines()[-1].split())

    assert imported() - imported("-p", "no:inmem") == {"inmem_pytest"}
