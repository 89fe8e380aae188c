"""The pytest plugin: a fixture `simulate`, and options that choose its seeds.

def test_agents(simulate):
    simulate(scenario, seeds=200, faults=Faults(crash=True))

pytest --sim-seed 1234             that seed alone: how to replay a failure
pytest --sim-seeds 5000            more seeds, or fewer, than the tests ask for

Installed under a name of its own, `inmem_pytest`: pytest imports a plugin in every run, and below `inmem` this module
would bring the whole store with it. So whatever it needs of that is imported when a simulation is asked for.
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from inmem.simulation.exploration import Scenario
    from inmem.simulation.faults import Faults


class Simulate:
    """What the fixture `simulate` gives: `explore`, with the seeds of the command line.

    Args:
        node_id: of the test, for the command that replays a failure.
        seed: the only one to run, or None.
        seeds: how many to run instead of what the test asks for, or None.
    """

    def __init__(self, node_id: str, seed: int | None, seeds: int | None) -> None:
        self._node_id = node_id
        self._seed = seed
        self._seeds = seeds

    def __repr__(self) -> str:
        return f"<inmem_pytest.Simulate of {self._node_id!r}>"

    def __call__(
        self, scenario: Scenario, seeds: int = 100, *, first_seed: int = 0, faults: Faults | None = None
    ) -> int:
        """Explore a scenario; return how many schedules were run. See `inmem.simulation.explore`.

        Raises:
            SimulationFailure: with a note that says how to run the failing seed again.
        """
        from inmem.simulation.exploration import explore  # noqa: PLC0415  (see above)
        from inmem.simulation.failure import SimulationFailure  # noqa: PLC0415

        __tracebackhide__ = True
        if self._seed is not None:
            seeds, first_seed = 1, self._seed
        elif self._seeds is not None:
            seeds = self._seeds
        try:
            return explore(scenario, seeds, first_seed=first_seed, faults=faults)
        except SimulationFailure as failure:
            command = f"pytest {shlex.quote(self._node_id)} --sim-seed={failure.seed}"
            failure.add_note(f"To run this seed again:\n\n    {command}\n")
            raise


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("inmem", "simulation of message orders (inmem)")
    group.addoption("--sim-seed", type=int, default=None, help="run simulated scenarios with this seed only")
    group.addoption("--sim-seeds", type=seed_count, default=None, help="run so many seeds of every simulated scenario")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that were given together, of which one would be ignored; a seed goes before what is configured."""
    given = {str(argument).split("=")[0] for argument in config.invocation_params.args}
    if {"--sim-seed", "--sim-seeds"} <= given:
        raise pytest.UsageError("--sim-seed is one seed, --sim-seeds is how many: give one of them")


def seed_count(text: str) -> int:
    """Return the value of `--sim-seeds`."""
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {count}: without a seed nothing would be tested")
    return count


@pytest.fixture
def simulate(request: pytest.FixtureRequest) -> Simulate:
    """Explore scenarios with the seeds of the command line."""
    return Simulate(
        request.node.nodeid, request.config.getoption("--sim-seed"), request.config.getoption("--sim-seeds")
    )
