"""Choosers decide what happens next: by a seed, a recorded list, or priorities. systematic.py tries every way in turn.

Every decision in a simulation is one call of `choose` or `chance`. A run is therefore the list of its choices:
replaying the list replays the run, and a shorter list of smaller numbers is a simpler run.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from inmem.simulation.trace import TIMER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Labels = Callable[[], Sequence[str]]

PRIORITY_DEPTH = 3
"""The number of ordering constraints that a priority schedule aims at."""

PRIORITY_STEPS = 200
"""Steps over which the priority changes are spread: about the length of a scenario."""

OVERTAKING_TIMERS_MAX = 100
"""How many timers may fire in a priority schedule while something else can happen. A client that polls with a sleep in
between could otherwise keep the others from running for ever: whenever a sleep ends, the next one begins."""

FAIR_AFTER_STEPS = 1_000
"""After so many steps a priority schedule draws every alternative with equal odds, so that everybody gets turns. The
fair schedulers of Coyote, a tester of .NET programs, do the same."""


class Chooser(ABC):
    """Makes every choice of one run. Without an alternative there is nothing to choose, and nothing is recorded.

    Attributes:
        made: the choices so far.
    """

    def __init__(self) -> None:
        self.made: list[int] = []

    def choose(self, count: int, labels: Labels | None = None) -> int:
        """Return a number from 0 to count - 1. `labels` names the alternatives when they are receivers or clients."""
        if count == 1:
            return 0
        choice = self._pick(count, labels)
        self.made.append(choice)
        return choice

    def chance(self, probability: float) -> bool:
        """Return whether a rare event happens now."""
        if probability <= 0:
            return False
        happens = self._happens(probability)
        self.made.append(int(happens))
        return happens

    @abstractmethod
    def _pick(self, count: int, labels: Labels | None) -> int:
        """Return one of several alternatives."""

    @abstractmethod
    def _happens(self, probability: float) -> bool:
        """Return whether a rare event that can happen does."""


class SeededChooser(Chooser):
    """Uniform choices from a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)  # noqa: S311  (to be repeated, not to be secret)

    def _pick(self, count: int, labels: Labels | None) -> int:  # noqa: ARG002
        return int(self._random.random() * count)

    def _happens(self, probability: float) -> bool:
        return self._random.random() < probability


class PriorityChooser(SeededChooser):
    """Strict random priorities, lowered at a few random steps: finds rare orders of few steps with known odds.

    They are not strict for ever: a program whose clients poll is correct, yet would not end if those that they wait for
    never got a turn.

    Source: Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of
    Finding Bugs", ASPLOS 2010. A bug that needs d ordering constraints among n actors in k steps is found with
    probability of at least 1 / (n * k**(d-1)).
    """

    def __init__(self, seed: int, *, depth: int = PRIORITY_DEPTH, steps: int = PRIORITY_STEPS) -> None:
        super().__init__(seed)
        self._priorities: dict[str, float] = {}
        self._change_points = {self._random.randrange(steps) for _ in range(depth - 1)}
        self._step = 0
        self._timers_left = OVERTAKING_TIMERS_MAX

    def _pick(self, count: int, labels: Labels | None) -> int:
        if labels is None or self._step == FAIR_AFTER_STEPS:
            return super()._pick(count, None)
        names = labels()
        priorities = self._priorities
        for name in names:
            if name not in priorities:
                priorities[name] = 1.0 + self._random.random()
        choice = max(range(count), key=lambda index: priorities[names[index]])
        if self._step in self._change_points:
            priorities[names[choice]] = self._random.random()
            choice = max(range(count), key=lambda index: priorities[names[index]])
        self._step += 1
        if names[choice] == TIMER:
            self._timers_left -= 1
            if not self._timers_left:
                priorities[TIMER] = -1.0  # below all others, also those that a change has lowered
        return choice


class RecordedChooser(Chooser):
    """Plays a list back. Too large a number means the last alternative; past the end, the first, and no rare events."""

    def __init__(self, recorded: Sequence[int]) -> None:
        super().__init__()
        self._recorded = recorded

    def _pick(self, count: int, labels: Labels | None) -> int:  # noqa: ARG002
        return min(self._next(), count - 1)

    def _happens(self, probability: float) -> bool:  # noqa: ARG002
        return self._next() > 0

    def _next(self) -> int:
        position = len(self.made)
        return self._recorded[position] if position < len(self._recorded) else 0
