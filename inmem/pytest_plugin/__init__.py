"""The pytest plugin: a fixture `simulate`, and options that choose its seeds.

def test_agents(simulate):
    simulate(scenario, seeds=200, faults=Faults(crash=True))

pytest --sim-seed 1234             run only this seed, to replay a failure
pytest --sim-seeds 5000            run more or fewer seeds than the tests ask for

The plugin is installed under its own name, `inmem_pytest`. pytest imports it in every run, and a submodule of `inmem`
would import the whole store each time. For the same reason, it imports parts of `inmem` only when a simulation runs.
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
    """The value of the fixture `simulate`: `explore`, with the seeds from the command line.

    Args:
        node_id: pytest's id of the test, for the command that replays a failure.
        seed: the only seed to run, or None.
        seeds: number of seeds to run instead of the test's own number, or None.
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
        """Explore a scenario and return the number of schedules run. See `inmem.simulation.explore`.

        Raises:
            SimulationFailure: a schedule failed; a note on the error says how to run its seed again.
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
    """Add the options `--sim-seed` and `--sim-seeds`."""
    group = parser.getgroup("inmem", "simulation of message orders (inmem)")
    group.addoption("--sim-seed", type=int, default=None, help="run simulated scenarios with this seed only")
    group.addoption("--sim-seeds", type=seed_count, default=None, help="run so many seeds of every simulated scenario")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse both options on one command line, as one would be ignored. `--sim-seed` overrides configured seeds."""
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
