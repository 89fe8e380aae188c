"""Finding a failing schedule, making it small, and replaying it."""

import importlib.util
import pickle
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import inmem
from inmem.simulation import BrokenPromise, Faults, Simulation, SimulationFailure, explore, replay, search
from inmem.simulation.choices import PriorityChooser, RecordedChooser
from inmem.simulation.exploration import attempt
from inmem.simulation.systematic import SystematicSearch
from inmem.simulation.trace import describe

ROOT = Path(__file__).resolve().parents[2]


def increment(sim, db):
    cell = db.cells.read("run", "counter")
    db.cells.set("run", "counter", (cell.value if cell else 0) + 1)


def racy(sim: Simulation) -> None:
    db = sim.open(memory=True)
    sim.spawn(increment, sim, db, name="left")
    sim.spawn(increment, sim, db, name="right")
    sim.run()
    assert db.cells.read("run", "counter").value == 2


def sound(sim: Simulation) -> None:
    db = sim.open(memory=True)

    def step():
        db.cells.transition_or_init("run", "counter", 0, lambda state: (state.value + 1, None))

    sim.spawn(step)
    sim.spawn(step)
    sim.run()
    assert db.cells.read("run", "counter").value == 2


@pytest.fixture(scope="module")
def failure():
    with pytest.raises(SimulationFailure) as caught:
        explore(racy, seeds=100)
    return caught.value


def test_a_race_is_found_and_shrunk_to_a_few_lines(failure):
    assert isinstance(failure.cause, AssertionError)
    assert len(failure.story) <= 6
    looks = [step.text for step in failure.story if step.receiver == step.sender]
    assert looks == ["looks at version 0", "looks at version 0"]
    assert {step.sender for step in failure.story} == {"left", "right", "cells"}


def test_a_failure_says_how_to_replay_it(failure):
    assert f"found by seed {failure.seed}" in str(failure)
    assert failure.command in str(failure)
    with pytest.raises(SimulationFailure) as caught:
        eval(failure.command, {"replay": replay, "racy": racy, "Faults": Faults})
    assert caught.value.as_text() == failure.as_text()


def test_a_failure_shows_its_messages_as_text_and_as_mermaid(failure):
    assert "-> cells  SetCell(run='run', name='counter', value=1)" in str(failure)
    assert "sequenceDiagram" in failure.as_mermaid()
    assert "sequenceDiagram" not in str(failure)
    assert "->>p" in failure.as_mermaid()
    assert "coordinator" not in str(failure)
    assert "coordinator" in failure.as_text()


def test_a_failure_writes_its_regression_test(failure, tmp_path):
    source = failure.as_test("tests.simulation.test_exploration")
    (tmp_path / "test_regression.py").write_text(source, encoding="utf-8")
    program = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    result = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 failed" in result.stdout
    assert "SimulationFailure" in result.stdout


def test_the_corrected_version_survives_every_schedule_that_is_tried():
    assert explore(sound, seeds=200) == 200


def test_a_search_tries_every_schedule_near_the_default_one():
    runs, complete = search(sound, deviations_max=1)
    assert complete
    assert runs > 5
    deeper, complete = search(sound, deviations_max=2)
    assert complete
    assert deeper > 3 * runs


def test_a_search_finds_the_race_in_few_runs():
    with pytest.raises(SimulationFailure, match="systematic search, run"):
        search(racy, deviations_max=2)


def test_a_search_says_that_it_was_not_complete():
    assert search(sound, runs_max=10) == (10, False)


def test_a_search_visits_every_path_once():
    systematic = SystematicSearch(1000)
    seen = set()
    while (chooser := systematic.next_chooser()) is not None:
        first = chooser.choose(3)
        seen.add((first, *(chooser.choose(2) for _ in range(first))))
    assert systematic.complete
    assert seen == {(0,), (1, 0), (1, 1), (2, 0, 0), (2, 0, 1), (2, 1, 0), (2, 1, 1)}
    assert systematic.runs == len(seen)


def test_a_search_within_deviations_visits_those_paths_only():
    systematic = SystematicSearch(1000, deviations_max=1)
    seen = []
    while (chooser := systematic.next_chooser()) is not None:
        seen.append(tuple(chooser.choose(3) for _ in range(3)))
    assert sorted(seen) == sorted(
        {(0, 0, 0), *((n, 0, 0) for n in (1, 2)), *((0, n, 0) for n in (1, 2)), (0, 0, 1), (0, 0, 2)}
    )


def test_priorities_are_strict_until_they_change():
    chooser = PriorityChooser(1, depth=1)
    names = ["a", "b", "c"]
    assert len({chooser.choose(3, lambda: names) for _ in range(20)}) == 1


def test_priorities_change_at_the_change_points():
    chooser = PriorityChooser(1, depth=4, steps=10)
    names = ["a", "b", "c"]
    assert len({chooser.choose(3, lambda: names) for _ in range(20)}) > 1


def test_a_recorded_run_goes_on_with_first_alternatives():
    chooser = RecordedChooser([5, 1])
    assert [chooser.choose(3), chooser.chance(0.5), chooser.choose(4), chooser.chance(0.5)] == [2, True, 0, False]


def test_shrinking_keeps_to_the_failure_that_was_found():
    def scenario(sim):
        db = sim.open(memory=True)

        def other():
            if db.get("run", "a") is None:
                raise LookupError("the easy one")

        def rare():
            if db.get("run", "a") == 1 and db.get("run", "b") is None:
                raise ValueError("the rare one")

        sim.spawn(lambda: [db.put("run", "a", 1), db.put("run", "b", 1)], name="writer")
        sim.spawn(rare, name="rare")
        if sim.seed < 0:
            sim.spawn(other)
        sim.run()

    with pytest.raises(SimulationFailure) as caught:
        explore(scenario, seeds=300)
    assert isinstance(caught.value.cause, ValueError)


def test_whatever_a_client_raises_ends_the_run_at_once():
    def scenario(sim):
        db = sim.open(memory=True)

        def fails():
            raise RuntimeError("at once")

        sim.spawn(fails)
        sim.spawn(lambda: [db.put("run", "k", n) for n in range(50)], name="long")
        sim.run()

    run = attempt(scenario, RecordedChooser([0]), 0, Faults())
    assert isinstance(run.cause, RuntimeError)
    assert len(run.steps) < 20


def test_a_client_that_waits_for_ever_is_reported():
    def scenario(sim):
        db = sim.open(memory=True)
        unanswered = type(future := db.kv.futures.put("run", "k", 1))(future._waiting)
        sim.spawn(unanswered.get, name="waits")
        sim.run()

    with pytest.raises(BrokenPromise, match="waits waits for a reply"):
        Simulation(0).check(scenario)


def test_two_databases_in_one_scenario_are_kept_apart():
    def scenario(sim):
        one, two = sim.open("one"), sim.open("two", shards=2)
        sim.spawn(lambda: [one.put("run", "k", n) for n in range(3)], name="first")
        sim.spawn(lambda: [two.put("run", "k", -n) for n in range(3)], name="second")
        sim.run()
        assert (one.get("run", "k"), two.get("run", "k")) == (2, -2)
        assert {"kv", "two/kv"} <= {step.receiver for step in sim.steps}

    explore(scenario, seeds=30)
    explore(restartable, seeds=30, faults=Faults.crashes())


def restartable(sim):
    one, two = sim.open("one"), sim.open("two")
    sim.spawn(lambda: [one.put("run", "k", n) for n in range(3)], name="first", restart=True)
    sim.spawn(lambda: [two.put("run", "k", -n) for n in range(3)], name="second", restart=True)
    sim.run()
    assert (one.get("run", "k"), two.get("run", "k")) == (2, -2)


def bare(sim):
    db = sim.open(memory=True)
    sim.run()
    assert db.get("run", "k") == 1


def deeper(sim):
    db = sim.open(memory=True)
    sim.spawn(lambda: db.get("run", b"k"), name="Ada")
    sim.run()


# pytest would say in the assertion what Python does not, so the modules of users are made here.
def compiled(source, name):
    namespace = {"__name__": "agents", "inmem": inmem}
    exec(compile(source, name, "exec"), namespace)
    return namespace["scenario"]


def test_a_failure_says_where_it_broke():
    source = "\n\ndef scenario(sim):\n    db = sim.open(memory=True)\n    assert db.get('run', 'k') == 1\n"
    with pytest.raises(SimulationFailure) as caught:
        explore(compiled(source, "agents.py"), seeds=1)
    assert str(caught.value).startswith("AssertionError\n    at agents.py:5, in scenario\n\nfound by seed 0.")
    with pytest.raises(SimulationFailure) as caught:
        explore(bare, seeds=1)
    line = bare.__code__.co_firstlineno + 3
    place = f'    at {__file__}:{line}, in bare: assert db.get("run", "k") == 1\n'
    assert place in str(caught.value)


def test_the_place_is_one_of_the_users_own():
    with pytest.raises(SimulationFailure) as caught:
        explore(deeper, seeds=1)
    line = deeper.__code__.co_firstlineno + 2
    place = f'    at {__file__}:{line}, in <lambda>: sim.spawn(lambda: db.get("run", b"k"), name="Ada")\n'
    assert str(caught.value).startswith(f"InvalidKeyError: key: must be a str, not bytes\n{place}")
    assert "# Found by simulation: InvalidKeyError: key: must be a str, not bytes\n" in caught.value.as_test("agents")


def test_names_of_the_package_are_all_there():
    module = importlib.util.find_spec("inmem.simulation")
    assert module is not None
    assert all(hasattr(sys.modules["inmem.simulation"], name) for name in sys.modules["inmem.simulation"].__all__)
    assert inmem.open is not None


def test_a_scenario_that_fails_only_sometimes_is_said_to_be_not_deterministic():
    runs = []

    def scenario(sim):
        db = sim.open(memory=True)
        sim.spawn(db.put, "run", "k", 1)
        sim.run()
        runs.append(sim.seed)
        assert len(runs) != 3, "unlucky"

    with pytest.raises(SimulationFailure) as caught:
        explore(scenario, seeds=10)
    assert runs == [0, 1, 2, 2]
    said = str(caught.value)
    assert "found by seed 2. The scenario is not deterministic: run once more with the same choices it" in said
    assert "took another course and passed, so this run cannot be replayed" in said
    assert "To replay" not in said
    assert "random.Random(sim.seed)" in said


def test_a_scenario_that_fails_in_another_way_each_time_is_said_to_be_not_deterministic():
    errors = iter([LookupError("first"), ValueError("second")])

    def scenario(sim):
        raise next(errors)

    with pytest.raises(
        SimulationFailure, match=r"not deterministic: .* took another course and ended with ValueError: second"
    ):
        explore(scenario)


def test_a_scenario_whose_clients_come_in_the_order_of_a_set_is_said_to_be_not_deterministic():
    """The same failure, but not of the same run."""
    names = iter([["left", "right"], ["right"], ["left", "right"]])

    def scenario(sim):
        db = sim.open(memory=True)
        for name in next(names):
            sim.spawn(increment, sim, db, name=name)
        sim.run()
        raise LookupError

    with pytest.raises(SimulationFailure, match="The scenario is not deterministic"):
        explore(scenario)


def counted(sim):
    db = sim.open(memory=True)

    def worker():
        for _ in range(2):
            db.put("run", "tokens", (db.get("run", "tokens") or 0) + 10)

    for number in range(3):
        sim.spawn(worker, name=f"worker-{number}")
    sim.run()
    assert db.get("run", "tokens") == 60


@pytest.mark.unmeasured
@pytest.mark.parametrize("seed", range(0, 40, 8))
def test_the_smallest_story_goes_over_from_one_to_another_as_seldom_as_a_race_can(seed):
    """They come one after another, but for two of them: one puts between a look and a put of the other."""
    with pytest.raises(SimulationFailure) as caught:
        explore(counted, seeds=8, first_seed=seed)
    workers = [step.sender if step.sender != "kv" else step.receiver for step in caught.value.story]
    assert sum(before != after for before, after in pairwise(workers)) <= 4
    assert sum(map(bool, caught.value.choices)) <= 2


def test_a_story_shows_values_and_what_a_transaction_reads_and_writes():
    def scenario(sim):
        db = sim.open(memory=True)

        def client():
            db.put("run", "task", {"state": "open", "by": None})
            db.put("run", "long", list(range(1000)))
            db.transaction("run", lambda txn: txn.put("count", (txn.get("count") or 0) + 1))
            db.transaction("run", lambda txn: txn.events.append("done", {"task": 1}))

        sim.spawn(client, name="Ada")
        sim.run()
        raise LookupError

    with pytest.raises(SimulationFailure) as caught:
        explore(scenario, seeds=1)
    said = str(caught.value)
    assert "PutKey(run='run', key='task', value={'state': 'open', 'by': None})" in said
    assert f"PutKey(run='run', key='long', value={str(list(range(1000)))[:60]}…)" in said
    assert "Commit(transaction=3, reads=[kv('run', 'count')], writes=[kv('run', 'count')], attempt=0)" in said
    assert "writes=[event('run', 0)" in said


def test_a_message_is_shown_by_its_values_unless_they_look_different_in_every_process():
    nested = []
    nested.append(nested)
    assert describe({"idle": "Ada", "since": [1, b"x", None]}) == "{'idle': 'Ada', 'since': [1, b'x', None]}"
    assert describe({"idle": object()}) == "dict of 1"
    assert describe([{"a": {1, 2}}]) == "list of 1"
    assert describe({"x"}) == "set of 1"
    assert describe(nested) == "list of 1"


def test_errors_have_the_names_under_which_they_are_imported():
    assert f"{SimulationFailure.__module__}.{SimulationFailure.__qualname__}" == "inmem.simulation.SimulationFailure"
    assert BrokenPromise.__module__ == "inmem.simulation"
    found = pickle.loads(pickle.dumps(BrokenPromise("so it is")))
    assert type(found) is BrokenPromise
