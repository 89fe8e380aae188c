"""Who decides what happens next: a seed, a recorded list, or priorities; see systematic.py for every way in turn.

Everything in a simulation that could go one way or another is one call of `choose`. A run is therefore
the list of its choices: replaying the list replays the run, and a shorter list of smaller numbers is a simpler run.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

from inmem.simulation.trace import TIMER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Labels = Callable[[], Sequence[str]]

PRIORITY_DEPTH = 3
"""Ordering constraints that a priority schedule is after."""

PRIORITY_STEPS = 200
"""Steps among which the changes of priority are spread: about the length of a scenario."""

OVERTAKING_TIMERS_MAX = 100
"""So often time may pass in a priority schedule while something else can happen. Whoever polls, with a sleep in
between, would otherwise keep all others from what it waits for: each sleep ends, and another one begins."""

FAIR_AFTER_STEPS = 1_000
"""Where priorities end and every alternative is as likely as any other: whoever goes on until another one has done its
part comes to an end. Of the schedulers of Coyote, a tester of .NET programs, the fair ones end in this way too."""


class Chooser(Protocol):
    """Makes every choice of one run."""

    @property
    def made(self) -> list[int]:
        """The choices so far."""
        ...

    def choose(self, count: int, labels: Labels | None = None) -> int:
        """Return a number from 0 to count - 1. `labels` names the alternatives when they are receivers or clients."""
        ...

    def chance(self, probability: float) -> bool:
        """Return whether something rare happens now."""
        ...


class SeededChooser:
    """Uniform choices from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  (to be repeated, not to be secret)
        self.made: list[int] = []

    def choose(self, count: int, labels: Labels | None = None) -> int:
        """Return any alternative."""
        if count == 1:
            return 0
        choice = self._pick(count, labels)
        self.made.append(choice)
        return choice

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        if probability <= 0:
            return False
        happens = self._random.random() < probability
        self.made.append(int(happens))
        return happens

    def _pick(self, count: int, _labels: Labels | None) -> int:
        return int(self._random.random() * count)


class PriorityChooser(SeededChooser):
    """Strict random priorities, lowered at a few random moments: finds rare orders of few steps with known odds.

    They are strict for as long as a bug takes, not for ever: a program that waits for others by polling is correct, yet
    never ends if those others get no turn.

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


class RecordedChooser:
    """Plays a list back; past its end, and where it asks for too much, the first alternative and no rare events."""

    def __init__(self, recorded: Sequence[int]) -> None:
        self._recorded = recorded
        self.made: list[int] = []

    def choose(self, count: int, labels: Labels | None = None) -> int:  # noqa: ARG002
        """Return the recorded choice."""
        if count == 1:
            return 0
        choice = min(self._next(), count - 1)
        self.made.append(choice)
        return choice

    def chance(self, probability: float) -> bool:
        """Return what was recorded."""
        if probability <= 0:
            return False
        happens = self._next() > 0
        self.made.append(int(happens))
        return happens

    def _next(self) -> int:
        position = len(self.made)
        return self._recorded[position] if position < len(self._recorded) else 0
