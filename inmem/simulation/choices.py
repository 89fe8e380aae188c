"""Who decides what happens next: a seed, a recorded list, priorities, or a systematic search.

Everything in a simulation that could go one way or another is one call of `choose`. A run is therefore
the list of its choices: replaying the list replays the run, and a shorter list of smaller numbers is a simpler run.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Chooser(Protocol):
    """Makes every choice of one run."""

    def choose(self, count: int, labels: Sequence[str] | None = None) -> int:
        """Return a number from 0 to count - 1. `labels` name the alternatives when they are senders or clients."""
        ...

    def chance(self, probability: float) -> bool:
        """Return whether something rare happens now."""
        ...


class SeededChooser:
    """Uniform choices from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.made: list[int] = []

    def choose(self, count: int, labels: Sequence[str] | None = None) -> int:
        """Return any alternative."""
        choice = self._random.randrange(count) if count > 1 else 0
        if count > 1:
            self.made.append(choice)
        return choice

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        if probability <= 0:
            return False
        happens = self._random.random() < probability
        self.made.append(int(happens))
        return happens


class RecordedChooser:
    """Plays a list back; past its end, and where it asks for too much, the first alternative and no rare events."""

    def __init__(self, recorded: Sequence[int]) -> None:
        self._recorded = recorded
        self._next = 0
        self.made: list[int] = []

    def choose(self, count: int, labels: Sequence[str] | None = None) -> int:
        """Return the recorded choice."""
        if count == 1:
            return 0
        choice = min(self._take(), count - 1)
        self.made.append(choice)
        return choice

    def chance(self, probability: float) -> bool:
        """Return what was recorded."""
        if probability <= 0:
            return False
        happens = self._take() > 0
        self.made.append(int(happens))
        return happens

    def _take(self) -> int:
        if self._next >= len(self._recorded):
            return 0
        self._next += 1
        return self._recorded[self._next - 1]


class PriorityChooser:
    """Strict random priorities, lowered at a few random moments: finds rare orders of few steps with known odds.

    Source: Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of
    Finding Bugs", ASPLOS 2010. A bug that needs d ordering constraints among n actors in k steps is found with
    probability of at least 1 / (n * k**(d-1)).
    """

    def __init__(self, seed: int, *, depth: int = 3, steps: int = 200) -> None:
        self._random = random.Random(seed)
        self._priorities: dict[str, float] = {}
        self._change_points = {self._random.randrange(steps) for _ in range(depth - 1)}
        self._step = 0
        self.made: list[int] = []

    def choose(self, count: int, labels: Sequence[str] | None = None) -> int:
        """Return the alternative whose label has the highest priority."""
        if count == 1:
            return 0
        if labels is None:
            choice = self._random.randrange(count)
        else:
            for label in labels:
                if label not in self._priorities:
                    self._priorities[label] = 1.0 + self._random.random()
            choice = max(range(count), key=lambda index: self._priorities[labels[index]])
            if self._step in self._change_points:
                self._priorities[labels[choice]] = self._random.random()
                choice = max(range(count), key=lambda index: self._priorities[labels[index]])
            self._step += 1
        self.made.append(choice)
        return choice

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        if probability <= 0:
            return False
        happens = self._random.random() < probability
        self.made.append(int(happens))
        return happens


class ExhaustiveSearch:
    """Hands out a chooser for every possible run, depth first, until all of them, or `runs_max`, were made."""

    def __init__(self, runs_max: int) -> None:
        self._runs_max = runs_max
        self._path: list[tuple[int, int]] = []
        self.runs = 0
        self.complete = False

    def next_chooser(self) -> _PathChooser | None:
        """Return the chooser of the next run, or None when the search is over."""
        if self.runs >= self._runs_max:
            return None
        if self.runs:
            while self._path and self._path[-1][0] + 1 >= self._path[-1][1]:
                self._path.pop()
            if not self._path:
                self.complete = True
                return None
            choice, count = self._path[-1]
            self._path[-1] = (choice + 1, count)
        self.runs += 1
        return _PathChooser(self._path)


class _PathChooser:
    """Follows a path of (choice, alternatives) and extends it by first alternatives."""

    def __init__(self, path: list[tuple[int, int]]) -> None:
        self._path = path
        self.made: list[int] = []

    def choose(self, count: int, labels: Sequence[str] | None = None) -> int:
        """Return the next choice of the path."""
        if count == 1:
            return 0
        position = len(self.made)
        if position == len(self._path):
            self._path.append((0, count))
        choice = self._path[position][0]
        self.made.append(choice)
        return choice

    def chance(self, probability: float) -> bool:
        """Try both."""
        return probability > 0 and self.choose(2) == 1
