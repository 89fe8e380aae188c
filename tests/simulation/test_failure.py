"""What counts as a failure of a scenario, and what a failure can be asked for and sent as."""

import copy
import pickle
import subprocess
import sys
import threading
import unittest
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import pytest

import inmem
from inmem import UsageError
from inmem.simulation import Faults, SimulationFailure, explore, replay
from tests.simulation.test_exploration import racy


def hopeful(sim):
    db = sim.open(memory=True)

    def client():
        with pytest.raises(LookupError):
            db.put("run", "k", 1)

    sim.spawn(client, name="Ada")
    sim.run()


def failing(sim):
    db = sim.open(memory=True)
    sim.spawn(db.put, "run", "k", 1)
    sim.run()
    pytest.fail("so it is")


@pytest.mark.parametrize(
    ("scenario", "said", "source"),
    [
        (hopeful, "Failed: DID NOT RAISE", "with pytest.raises(LookupError):"),
        (failing, "Failed: so it is", 'pytest.fail("so it is")'),
    ],
)
def test_a_failure_of_pytests_is_one_of_the_scenario(scenario, said, source):
    with pytest.raises(SimulationFailure) as caught:
        explore(scenario, seeds=20)
    failure = caught.value
    assert isinstance(failure.cause, pytest.fail.Exception)
    assert str(failure).startswith(said)
    assert f"{__file__}:" in str(failure)
    assert f"in {'client' if scenario is hopeful else 'failing'}: {source}\n" in str(failure)
    assert "found by seed 0" in str(failure)
    with pytest.raises(SimulationFailure):
        replay(scenario, choices=failure.choices)


HOSTILE = "\x1b[2J\x07\nforged; #1 -> x"


def test_what_a_terminal_would_obey_is_shown_as_escapes():
    def scenario(sim):
        db = sim.open(memory=True)

        def client():
            db.put("run", "k", HOSTILE)
            sim.note(HOSTILE)
            raise AssertionError

        sim.spawn(client, name=HOSTILE)
        sim.run()

    with pytest.raises(SimulationFailure) as caught:
        explore(scenario, seeds=1)
    failure = caught.value
    for text in (str(failure), failure.as_text(), failure.as_mermaid()):
        assert all(line.isprintable() for line in text.split("\n"))
        assert not any(line.startswith("forged") for line in text.split("\n"))
        assert text.count(r"\x1b[2J\x07\nforged") >= 3
    assert not [line for line in failure.as_mermaid().split("\n") if ";" in line or "#" in line]


def test_lines_of_ones_own_are_in_the_story_whoever_adds_them():
    def scenario(sim):
        db = sim.open(memory=True)
        sim.note("before")
        db.put("run", "k", 0)
        sim.spawn(lambda: [sim.note("within"), db.put("run", "k", 1)], name="client")
        sim.run()
        sim.note("after")
        db.put("run", "k", 2)
        pytest.fail("to be told")

    with pytest.raises(SimulationFailure) as caught:
        explore(scenario, seeds=1)
    for failure in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert [str(step) for step in failure.story] == [
            "main -> main: before",
            "client -> client: within",
            "client -> kv: PutKey(run='run', key='k', value=1)",
            "kv -> client: answers 2",
            "main -> main: after",
        ]


def test_shrinking_tells_one_expectation_from_another():
    """All failures of pytest's are raised in one and the same line, which is none of the scenario's."""
    found = []

    def scenario(sim):
        db = sim.open(memory=True)

        def rare():
            if db.get("run", "a") == 1 and db.get("run", "b") is None:
                found.append(1)
                pytest.fail("the rare one")

        sim.spawn(lambda: [db.put("run", "a", 1), db.put("run", "b", 1)], name="writer")
        sim.spawn(rare, name="rare")
        if len(found) > 1:  # it is run once more before it is made smaller
            pytest.fail("the easy one")
        sim.run()

    with pytest.raises(SimulationFailure) as caught:
        explore(scenario, seeds=300)
    assert str(caught.value.cause) == "the rare one"


@pytest.mark.parametrize("is_client", [True, False], ids=["client", "scenario"])
@pytest.mark.parametrize(
    ("kind", "stop"),
    [
        (pytest.skip.Exception, lambda: pytest.skip("not here")),
        (pytest.exit.Exception, lambda: pytest.exit("enough")),
        (pytest.xfail.Exception, lambda: pytest.xfail("known")),
        (unittest.SkipTest, None),
        (KeyboardInterrupt, None),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_to_end_more_than_the_scenario_passes_through(kind, stop, is_client):
    def client():
        if stop is None:
            raise kind
        stop()

    def scenario(sim):
        if is_client:
            sim.spawn(client)
            sim.run()
        client()

    with pytest.raises(kind) as caught:
        explore(scenario, seeds=3)
    assert caught.type is kind


def test_nobody_needs_pytest_to_fail():
    source = (
        "import sys\n"
        "from inmem.simulation import SimulationFailure, explore\n"
        "def scenario(sim):\n"
        "    sim.open(memory=True)\n"
        "    assert sim.seed < 3\n"
        "try:\n"
        "    explore(scenario)\n"
        "except SimulationFailure as failure:\n"
        "    assert failure.seed == 3\n"
        "    assert not {'pytest', '_pytest'} & sys.modules.keys()\n"
        "else:\n"
        "    raise SystemExit('no failure')\n"
    )
    subprocess.run([sys.executable, "-c", source], check=True)


def told_at_once(sim):
    db = sim.open("db")
    sim.spawn(db.put, "run", "k", 1)
    sim.run()
    raise LookupError("so it is")


def holding_a_lock(sim):
    """What an error holds need not find its way to another process, nor need its class."""

    class LocalError(inmem.InmemError):
        pass

    error = LocalError("so it is")
    error.lock = threading.Lock()
    raise error


@pytest.fixture(scope="module", params=[racy, failing, told_at_once, holding_a_lock])
def failure(request):
    """The failure of a scenario, with a note. Looked for once: it is only copied."""
    with pytest.raises(SimulationFailure) as caught:
        explore(request.param, seeds=100, faults=Faults(crash=True))
    caught.value.add_note("a note")
    return caught.value


@pytest.mark.parametrize(
    "twin_of",
    [copy.copy, copy.deepcopy]
    + [lambda failure, n=n: pickle.loads(pickle.dumps(failure, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)],
)
def test_a_failure_can_be_copied_and_sent(failure, twin_of):
    twin = twin_of(twin_of(failure))
    assert str(twin) == str(failure)
    assert (twin.seed, twin.faults, twin.choices) == (failure.seed, failure.faults, failure.choices)
    assert (twin.command, twin.__notes__) == (failure.command, ["a note"])
    assert (twin.as_text(), twin.as_mermaid()) == (failure.as_text(), failure.as_mermaid())
    assert [str(step) for step in twin.story] == [str(step) for step in failure.story]
    assert twin.as_test("agents") == failure.as_test("agents")
    assert str(failure.cause) in str(twin.cause)


def test_a_pool_of_processes_hands_a_failure_back():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with pytest.raises(SimulationFailure, match="found by seed") as caught:
            pool.submit(explore, racy, 100).result()
        with pytest.raises(SimulationFailure) as replayed:
            replay(racy, seed=caught.value.seed, choices=caught.value.choices)
    assert replayed.value.as_text() == caught.value.as_text()


def failure_of(scenario):
    with pytest.raises(SimulationFailure) as caught:
        explore(scenario, seeds=1, first_seed=-4)
    return caught.value


def made_inside():
    def scenario(sim):
        failing(sim)

    return scenario


named = made_inside()


def test_a_scenario_that_no_test_can_import_is_refused():
    for scenario, name in (
        (lambda sim: [failing(sim)], "'test_a_scenario_that_no_test_can_import_is_refused.<locals>.<lambda>'"),
        (named, "'made_inside.<locals>.scenario'"),
        (partial(failing), "one without a name"),
    ):
        failure = failure_of(scenario)
        with pytest.raises(UsageError, match=f"^scenario: a test can import a function of a module, not {name}; if"):
            failure.as_test("agents")
        with pytest.raises(UsageError, match=r"^scenario: a test can import"):
            failure.as_test("agents", "a-b")
        with pytest.raises(UsageError, match=r"^module: must be the name of a module, not 'agents\.py/'"):
            failure.as_test("agents.py/", "named")
        with pytest.raises(UsageError, match=r"^module: must be the name of a module, not 'agents\.class'"):
            failure.as_test("agents.class", "named")
        with pytest.raises(UsageError, match=r"^module: must be the name of a module, not 5$"):
            failure.as_test(5, "named")
        with pytest.raises(UsageError, match=r"^scenario: .* not 5"):
            failure.as_test("agents", 5)
        with pytest.raises(UsageError, match=r"^scenario: a test can import a function of a module, not 'lambda'"):
            failure.as_test("agents", "lambda")
        with pytest.raises(SimulationFailure):
            eval(failure.command, {"replay": replay, "scenario": scenario, "Faults": Faults})


def test_a_scenario_that_was_given_a_name_can_be_tested_by_it():
    source = failure_of(named).as_test(__name__, "named")
    namespace = {}
    exec(source, namespace)
    with pytest.raises(SimulationFailure, match="Failed: so it is"):
        namespace["test_named_seed_minus_4"]()
