"""Run one scenario many times and, when a run fails, find the smallest failing run."""

# Functions here set `__tracebackhide__`, so pytest leaves them out of its tracebacks: users want to see their own code
# and the story of the failure.

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inmem.simulation.choices import PriorityChooser, RecordedChooser, SeededChooser
from inmem.simulation.failure import FailingRun, SimulationFailure, is_failure, told_of_repetition
from inmem.simulation.faults import NO_FAULTS, allowed_faults
from inmem.simulation.one_fault import with_one_kind
from inmem.simulation.scenario import (
    MUST_NOT_DEPEND,
    NOT_DETERMINISTIC,
    ScenarioError,
    require_choices,
    require_count,
    require_int,
)
from inmem.simulation.scheduler import STEPS_MAX
from inmem.simulation.shrinking import ENDLESS_STEPS, Shrinker, steps_worth
from inmem.simulation.simulation import Simulation
from inmem.simulation.systematic import PathChooser, SystematicSearch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inmem.simulation.choices import Chooser
    from inmem.simulation.faults import Faults

    Scenario = Callable[[Simulation], object]

FEWER_FAULTS_SEEDS = 10
"""How many seeds are tried without faults, and with one kind, after a failure with faults, which may not need all."""

ENDLESS_CHOICES_MAX = 200
"""A run without end that needs more choices than this is shown as it was found, to be replayed by its seed."""

PRIORITY_EVERY = 4
"""One in so many seeds gets a priority schedule, which finds failures that uniform choices hardly ever find."""


class Searched(NamedTuple):
    """How far a search went."""

    runs: int
    """How many schedules were tried."""
    complete: bool
    """Whether these were all possible runs within the bound."""


def explore(scenario: Scenario, seeds: int = 100, *, first_seed: int = 0, faults: Faults | None = None) -> int:
    """Run `scenario` under many schedules; return how many.

    Args:
        scenario: takes a `Simulation`; must itself be deterministic.
        seeds: number of schedules, at least one.
        first_seed: the seed of the first schedule.
        faults: what may go wrong besides the order of events.

    Raises:
        SimulationFailure: a schedule failed. The error shows the smallest failing schedule that was found, its seed and
            its messages; or, if the scenario behaves differently when it is repeated with the same choices, the
            schedule as it first failed.
        UsageError: an argument is not acceptable, or the scenario would test nothing: it is not a plain function, has
            returned something, or has spawned clients that it does not run.
    """
    __tracebackhide__ = True
    require_count("seeds", seeds, 1)
    require_int("first_seed", first_seed)
    allowed = allowed_faults(faults)
    for seed in range(first_seed, first_seed + seeds):
        run = attempt(scenario, chooser_for(seed), seed, allowed)
        if run is not None:
            raise _report(scenario, f"seed {seed}", seed, allowed, run, is_of_seed=True)
    return seeds


def search(
    scenario: Scenario, *, runs_max: int = 10_000, deviations_max: int | None = None, faults: Faults | None = None
) -> Searched:
    """Run a small scenario under every possible schedule, or every one within a bound; return how far the search went.

    Args:
        scenario: takes a `Simulation`; must itself be deterministic.
        runs_max: give up after so many runs.
        deviations_max: only schedules that deviate at most so often from the default order (see `SystematicSearch`).
        faults: what may go wrong besides the order of events. Each possible fault is a choice of its own.

    Raises:
        SimulationFailure: a schedule failed.
        UsageError: as for `explore`; or the scenario is not deterministic, so that its schedules cannot be enumerated.
            To detect this, the first schedule runs again at the end.
    """
    __tracebackhide__ = True
    require_count("runs_max", runs_max, 1)
    if deviations_max is not None:
        require_count("deviations_max", deviations_max, 0)
    allowed = allowed_faults(faults)
    systematic = SystematicSearch(runs_max, deviations_max)

    def steps_of(chooser: PathChooser, found_by: str) -> int:
        __tracebackhide__ = True
        run, steps = _attempt(scenario, chooser, 0, allowed, STEPS_MAX)
        if run is not None:
            raise _report(scenario, found_by, 0, allowed, run)
        if chooser.is_astray:
            raise _other_course(found_by)
        return steps

    first: list[tuple[int, int]] = []
    first_steps = 0
    while (chooser := systematic.next_chooser()) is not None:
        steps = steps_of(chooser, f"systematic search, run {systematic.runs}")
        if systematic.runs == 1:
            first, first_steps = list(chooser.path), steps
    found_by = "systematic search, run 1 once more"
    again = PathChooser(list(first))
    steps = steps_of(again, found_by)
    if (again.path, steps) != (first, first_steps):
        raise _other_course(found_by)
    return Searched(systematic.runs, systematic.complete)


def replay(
    scenario: Scenario, *, seed: int = 0, choices: Sequence[int] | None = None, faults: Faults | None = None
) -> None:
    """Run `scenario` once, with the choices that a `SimulationFailure` has shown.

    Args:
        scenario: the scenario that failed.
        seed: the seed of the failure.
        choices: the choices of the failure; by default those that `explore` makes with this seed.
        faults: the faults of the failure.

    Raises:
        SimulationFailure: the scenario still fails.
        UsageError: as for `explore`.
    """
    __tracebackhide__ = True
    require_int("seed", seed)
    if choices is not None:
        require_choices("choices", choices)
    allowed = allowed_faults(faults)
    run = attempt(scenario, chooser_for(seed) if choices is None else RecordedChooser(choices), seed, allowed)
    if run is not None:
        _require_scenario(run, "this replay")
        raise SimulationFailure(
            _name(scenario), "this replay", seed, allowed, run, is_smallest=False, is_of_seed=choices is None
        ) from run.cause


def chooser_for(seed: int) -> Chooser:
    """Return the chooser for a seed's run."""
    return PriorityChooser(seed) if seed % PRIORITY_EVERY == PRIORITY_EVERY - 1 else SeededChooser(seed)


def attempt(scenario: Scenario, chooser: Chooser, seed: int, faults: Faults) -> FailingRun | None:
    """Run `scenario` once; return the run if it fails."""
    __tracebackhide__ = True
    return _attempt(scenario, chooser, seed, faults, STEPS_MAX)[0]


def _attempt(
    scenario: Scenario, chooser: Chooser, seed: int, faults: Faults, steps_max: int
) -> tuple[FailingRun | None, int]:
    """Run `scenario` once; return the run if it fails, and how many steps it took."""
    __tracebackhide__ = True
    simulation = Simulation(seed, faults, chooser=chooser, steps_max=steps_max)
    try:
        simulation.check(scenario)
    except BaseException as error:
        if not is_failure(error, is_of_client=simulation.client_error is error):
            raise
        run = FailingRun(simulation.choices, simulation.steps, simulation.outsiders, error)
        # A run of clients that only call sim.pause() has few steps, yet takes as long.
        return run, steps_max if run.is_endless else len(simulation.steps)
    return None, len(simulation.steps)


def _report(
    scenario: Scenario, found_by: str, seed: int, faults: Faults, run: FailingRun, *, is_of_seed: bool = False
) -> SimulationFailure:
    """Return the failure to be shown: the smallest run that was found, or the run as it was.

    Args:
        scenario: the scenario that failed.
        found_by: what found the failure, in words.
        seed: the seed of the run.
        faults: the faults that were allowed.
        run: the failing run.
        is_of_seed: whether the seed alone makes the choices of the run.
    """
    _require_scenario(run, found_by)
    again = attempt(scenario, RecordedChooser(run.choices), seed, faults)
    if again is not None and again.is_like(run):
        needed, smallest = _made_smaller(scenario, seed, faults, run)
        if is_of_seed and smallest.is_endless and len(smallest.choices) > ENDLESS_CHOICES_MAX:
            failure = SimulationFailure(
                _name(scenario), found_by, seed, faults, run, is_smallest=False, is_of_seed=True
            )
        else:
            failure = SimulationFailure(_name(scenario), found_by, seed, needed, smallest)
    else:
        # The run cannot be repeated, so other schedules would say nothing about it either.
        failure = SimulationFailure(_name(scenario), found_by, seed, faults, run, repetition=told_of_repetition(again))
    failure.__cause__ = failure.cause
    return failure


def _made_smaller(scenario: Scenario, seed: int, allowed: Faults, run: FailingRun) -> tuple[Faults, FailingRun]:
    """Return the smallest run that was found, and the faults allowed in it: none if it fails without."""

    def try_with(chooser: Chooser, faults: Faults, steps_max: int) -> tuple[FailingRun | None, int]:
        return _attempt(scenario, chooser, seed, faults, steps_max)

    faults, begin, spent = allowed, run, 0
    if allowed != NO_FAULTS:
        faultless = _without_faults(scenario, seed, run)
        if faultless is None:
            faults, begin, spent = with_one_kind(allowed, run, try_with, lambda: _choosers_near(seed))
        else:
            faults, begin = NO_FAULTS, faultless
    smallest = Shrinker(begin, lambda chooser, steps_max: try_with(chooser, faults, steps_max), spent).shrink()
    if not smallest.is_endless:
        return faults, smallest
    # Attempts were given up early, so this run may come to rest after all.
    in_full = attempt(scenario, RecordedChooser(smallest.choices), seed, faults)
    return (allowed, run) if in_full is None or in_full.kind != run.kind else (faults, in_full)


def _without_faults(scenario: Scenario, seed: int, run: FailingRun) -> FailingRun | None:
    """Return the smallest of some runs without faults that fail as this one did, or None."""
    # The failing run says little about the length of these runs: a crash may have cut it short.
    steps_max = max(ENDLESS_STEPS, steps_worth(run))
    tried = [attempt(scenario, RecordedChooser([]), seed, NO_FAULTS)]
    tried += [_attempt(scenario, chooser, seed, NO_FAULTS, steps_max)[0] for chooser in _choosers_near(seed)]
    like = [other for other in tried if other is not None and other.kind == run.kind]
    return min(like, key=lambda other: other.size, default=None)


def _choosers_near(seed: int) -> list[Chooser]:
    """Return the choosers that are tried with fewer faults after a failure of this seed."""
    return [chooser_for(seed + number) for number in range(FEWER_FAULTS_SEEDS)]


def _require_scenario(run: FailingRun, found_by: str) -> None:
    """Raise the error as it is if the scenario itself is wrong: no schedule of it is worth showing."""
    if isinstance(run.cause, ScenarioError):
        run.cause.add_note(f"found by {found_by}")
        raise run.cause


def _other_course(found_by: str) -> ScenarioError:
    error = ScenarioError(f"{NOT_DETERMINISTIC}, so the search cannot say what it has tried. {MUST_NOT_DEPEND}")
    error.add_note(f"found by {found_by}")
    return error


def _name(scenario: Scenario) -> str:
    return getattr(scenario, "__qualname__", "")
