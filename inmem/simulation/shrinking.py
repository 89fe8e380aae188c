"""Making a failing run smaller: fewer and smaller choices, for as long as it fails for the same reason.

A run is the list of its choices, so this is delta debugging on a list of numbers (Zeller and Hildebrandt, "Simplifying
and Isolating Failure-Inducing Input", 2002), where numbers can also be replaced by zero, the first alternative.

That ends at a run which no single change makes smaller. A smaller one may lie elsewhere: most failures need one or two
deviations from the default order, so at last the runs nearest to that are looked through as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.simulation.choices import RecordedChooser
from inmem.simulation.systematic import SystematicSearch

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.simulation.choices import Chooser
    from inmem.simulation.failure import FailingRun

    Attempt = Callable[[Chooser], FailingRun | None]

SHRINK_RUNS_MAX = 2_000
"""Runs spent on making a failing schedule smaller: a few seconds."""

NEAR_RUNS_MAX = 200
"""Runs spent on those nearest to the default order."""

NEAR_DEVIATIONS_MAX = 2
"""So often they deviate from it."""


class Shrinker:
    """Makes one failing run smaller.

    Args:
        run: to begin with.
        attempt: runs the scenario with a chooser.
        runs_max: how often at most.

    Attributes:
        best: the smallest failing run so far.
    """

    def __init__(self, run: FailingRun, attempt: Attempt, runs_max: int = SHRINK_RUNS_MAX) -> None:
        self.best = run
        self._attempt = attempt
        self._runs_left = runs_max

    def shrink(self) -> FailingRun:
        """Return the smallest failing run that was found."""
        size = None
        while size != self.best.size and self._runs_left > 0:
            size = self.best.size
            block = max(1, len(self.best.choices) // 2)
            while block:
                self._without_blocks(block)
                block //= 2
            self._with_smaller_numbers()
        self._among_the_nearest()
        return self.best

    def _without_blocks(self, block: int) -> None:
        start = 0
        while start < len(self.best.choices):
            choices = self.best.choices
            end = min(start + block, len(choices))
            zeros = [0] * (end - start)
            if self._try(choices[:start] + choices[end:]):
                continue
            if choices[start:end] != zeros:
                self._try(choices[:start] + zeros + choices[end:])
            start += block

    def _with_smaller_numbers(self) -> None:
        position = 0
        while position < len(self.best.choices):
            choice = self.best.choices[position]
            if choice > 1 and self._try(
                [*self.best.choices[:position], choice - 1, *self.best.choices[position + 1 :]]
            ):
                continue
            position += 1

    def _try(self, choices: list[int]) -> bool:
        """Run with these choices; return whether that fails in the same way and is smaller."""
        if self._runs_left <= 0:
            return False
        self._runs_left -= 1
        return self._keep_if_smaller(self._attempt(RecordedChooser(choices)))

    def _among_the_nearest(self) -> None:
        nearest = SystematicSearch(NEAR_RUNS_MAX, NEAR_DEVIATIONS_MAX)
        while (chooser := nearest.next_chooser()) is not None:
            self._keep_if_smaller(self._attempt(chooser))

    def _keep_if_smaller(self, run: FailingRun | None) -> bool:
        if run is None or run.kind != self.best.kind or run.size >= self.best.size:
            return False
        self.best = run
        return True
