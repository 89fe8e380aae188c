"""Many runs of one scenario, and, when one fails, the smallest failing run that can be found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.simulation.choices import Chooser, ExhaustiveSearch, PriorityChooser, RecordedChooser, SeededChooser
from inmem.simulation.faults import Faults
from inmem.simulation.simulation import Simulation
from inmem.simulation.trace import as_mermaid, as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inmem.simulation.trace import Step

    Scenario = Callable[[Simulation], object]

SHRINK_RUNS_MAX = 2_000
"""Runs spent on making a failing schedule smaller."""


class SimulationFailure(AssertionError):  # noqa: N818  (as pytest's own failures)
    """A scenario failed under a schedule.

    Attributes:
        seed: that found it; None for an exhaustive search.
        faults: that were allowed.
        choices: of the smallest failing run; ``RecordedChooser(choices)`` replays it.
        steps: of that run.
        cause: what it raised.
    """

    def __init__(
        self, seed: int | None, faults: Faults, choices: Sequence[int], steps: list[Step], cause: BaseException
    ) -> None:
        self.seed = seed
        self.faults = faults
        self.choices = list(choices)
        self.steps = steps
        self.cause = cause
        replay = f"explore(scenario, choices={self.choices}, faults={faults!r})"
        found = "systematic search" if seed is None else f"seed {seed}"
        super().__init__(
            f"{type(cause).__name__}: {cause}\n\n"
            f"found by {found}; the smallest failing run has {len(steps)} steps; to replay it:\n    {replay}\n\n"
            f"{as_text(steps)}\n"
        )

    def as_mermaid(self) -> str:
        """Return the failing run as a Mermaid sequence diagram."""
        return as_mermaid(self.steps)

    def as_test(self, scenario_name: str, module: str) -> str:
        """Return a regression test that replays the failing run."""
        return (
            f"from inmem.simulation import Faults, explore\n\nfrom {module} import {scenario_name}\n\n\n"
            f"def test_{scenario_name}_seed_{self.seed}() -> None:\n"
            f"    # Found by simulation: {type(self.cause).__name__}: {self.cause}\n"
            f"    explore({scenario_name}, choices={self.choices}, faults={self.faults!r})\n"
        )


def explore(
    scenario: Scenario,
    seeds: int = 100,
    *,
    first_seed: int = 0,
    faults: Faults | None = None,
    choices: Sequence[int] | None = None,
    priorities: bool = True,
) -> int:
    """Run `scenario` under many schedules; return how many.

    Args:
        scenario: takes a `Simulation`; must itself be deterministic.
        seeds: how many schedules.
        first_seed: of the first.
        faults: what may go wrong besides the order of events.
        choices: replay this one run instead, as a failure's text shows it.
        priorities: use a priority schedule (see `PriorityChooser`) for every fourth seed.

    Raises:
        SimulationFailure: with the smallest failing schedule, its seed, and the messages in it.
    """
    allowed = faults or Faults()
    if choices is not None:
        failure = _attempt(scenario, RecordedChooser(choices), 0, allowed)
        if failure is not None:
            raise _report(0, allowed, failure) from failure.cause
        return 1
    for seed in range(first_seed, first_seed + seeds):
        chooser: Chooser = PriorityChooser(seed) if priorities and seed % 4 == 3 else SeededChooser(seed)
        failure = _attempt(scenario, chooser, seed, allowed)
        if failure is not None:
            smallest = _shrink(scenario, failure, seed, allowed)
            raise _report(seed, allowed, smallest) from smallest.cause
    return seeds


def search(scenario: Scenario, *, runs_max: int = 10_000, faults: Faults | None = None) -> tuple[int, bool]:
    """Run a small scenario under every schedule there is, up to `runs_max`; return (runs, whether that was all).

    Raises:
        SimulationFailure: a schedule made it fail.
    """
    allowed = faults or Faults()
    systematic = ExhaustiveSearch(runs_max)
    while (chooser := systematic.next_chooser()) is not None:
        failure = _attempt(scenario, chooser, 0, allowed)
        if failure is not None:
            smallest = _shrink(scenario, failure, 0, allowed)
            raise _report(None, allowed, smallest) from smallest.cause
    return systematic.runs, systematic.complete


class _Failure:
    """One failing run."""

    def __init__(self, simulation: Simulation, cause: BaseException) -> None:
        self.choices = simulation.choices
        self.steps = list(simulation.steps)
        self.cause = cause

    @property
    def size(self) -> tuple[int, int, list[int]]:
        """What shrinking makes smaller: steps first, then choices other than the first alternative."""
        return len(self.steps), sum(1 for choice in self.choices if choice), self.choices


def _attempt(scenario: Scenario, chooser: Chooser, seed: int, faults: Faults) -> _Failure | None:
    simulation = Simulation(seed, faults, chooser=chooser)
    try:
        simulation.check(scenario)
    except Exception as error:  # noqa: BLE001  (whatever a scenario raises is a finding)
        return _Failure(simulation, error)
    return None


def _shrink(scenario: Scenario, failure: _Failure, seed: int, faults: Faults) -> _Failure:
    """Make the list of choices shorter and its numbers smaller for as long as the same error comes out."""
    best = failure
    runs = 0
    improved = True
    while improved and runs < SHRINK_RUNS_MAX:
        improved = False
        for candidate in _simpler(best.choices):
            if runs >= SHRINK_RUNS_MAX:
                break
            runs += 1
            attempt = _attempt(scenario, RecordedChooser(candidate), seed, faults)
            if attempt is not None and type(attempt.cause) is type(best.cause) and attempt.size < best.size:
                best = attempt
                improved = True
                break
    return best


def _simpler(choices: list[int]) -> list[list[int]]:
    """Return lists of choices that are simpler than this one, the boldest first."""
    candidates: list[list[int]] = []
    length = len(choices)
    block = length
    while block >= 1:
        for start in range(0, length, block):
            candidates.append(choices[:start] + choices[start + block :])
            zeroed = choices[:start] + [0] * len(choices[start : start + block]) + choices[start + block :]
            if zeroed != choices:
                candidates.append(zeroed)
        block //= 2
    candidates += [
        [*choices[:index], choice - 1, *choices[index + 1 :]] for index, choice in enumerate(choices) if choice > 1
    ]
    return candidates


def _report(seed: int | None, faults: Faults, failure: _Failure) -> SimulationFailure:
    return SimulationFailure(seed, faults, failure.choices, failure.steps, failure.cause)
