"""What counts as a failure of a scenario, and what a failure can be asked for and sent as."""

import subprocess
import sys

import pytest

from inmem.simulation import SimulationFailure, explore, replay


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
        if found:
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
        (KeyboardInterrupt, None),
        (SystemExit, None),
        (GeneratorExit, None),
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
