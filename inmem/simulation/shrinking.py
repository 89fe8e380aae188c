"""Make a failing run smaller: fewer and smaller choices, as long as it still fails for the same reason.

A run is the list of its choices, so this is delta debugging on a list of numbers (Zeller and Hildebrandt, "Simplifying
and Isolating Failure-Inducing Input", 2002), where numbers can also be replaced by zero, the first alternative.

That ends at a run which no single change makes smaller. A smaller one may exist elsewhere. Most failures need only one
or two deviations from the default order, so at the end the runs nearest to that order are tried as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.simulation.choices import RecordedChooser
from inmem.simulation.systematic import SystematicSearch

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.simulation.choices import Chooser
    from inmem.simulation.failure import FailingRun

    Attempt = Callable[[Chooser, int], tuple[FailingRun | None, int]]

SHRINK_STEPS_MAX = 200_000
"""Steps spent on making a failing schedule smaller: five to ten seconds."""

NEAR_STEPS_MAX = 50_000
"""Steps spent on the runs nearest to the default order."""

ENDLESS_STEPS_MAX = 50_000
"""Steps spent on an endless run: two seconds. Running it in full takes a second each time."""

RUN_STEPS = 30
"""Beginning and ending a run takes about as long as this many steps."""

NEAR_RUNS_MAX = 200
"""How many of the runs nearest to the default order are tried."""

NEAR_DEVIATIONS_MAX = 2
"""How often such a run may deviate from the default order."""

LONGER = 2
SLACK_STEPS = 200
"""An attempt longer than `LONGER` times the steps of the smallest run, plus these, is hardly a shorter story."""

ENDLESS_STEPS = 2_000
"""An attempt that is not at rest after this many steps counts as endless. The last one runs in full."""


def steps_worth(run: FailingRun) -> int:
    """Return the number of steps after which an attempt to find a smaller run than this one is given up."""
    return ENDLESS_STEPS if run.is_endless else LONGER * len(run.steps) + SLACK_STEPS


def steps_worth_shrinking(run: FailingRun) -> int:
    """Return how many steps may be spent on making this run smaller."""
    return ENDLESS_STEPS_MAX if run.is_endless else SHRINK_STEPS_MAX


class Shrinker:
    """Makes one failing run smaller.

    Args:
        run: the run to begin with.
        attempt: runs the scenario with a chooser for at most the given number of steps; returns the run if it fails,
            and how many steps it took.
        spent: how many steps have been spent on making the run smaller before.

    Attributes:
        best: the smallest failing run so far.
    """

    def __init__(self, run: FailingRun, attempt: Attempt, spent: int = 0) -> None:
        self.best = run
        self._attempt = attempt
        self._steps_left = steps_worth_shrinking(run) - spent

    def shrink(self) -> FailingRun:
        """Return the smallest failing run that was found."""
        self._without_end()
        size = None
        while size != self.best.size and self._steps_left > 0:
            size = self.best.size
            block = max(1, len(self.best.choices) // 2)
            while block:
                self._without_blocks(block)
                block //= 2
            self._with_smaller_numbers()
        if not self.best.is_endless:
            self._steps_left = NEAR_STEPS_MAX
            self._among_the_nearest()
        return self.best

    def _without_end(self) -> None:
        """Leave out the second half as often as that helps: most of a run happens after what matters."""
        while self.best.choices and self._try(self.best.choices[: len(self.best.choices) // 2]):
            pass

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
        """Run with these choices; return whether the run fails in the same way and is smaller."""
        return self._steps_left > 0 and self._keep_if_smaller(RecordedChooser(choices))

    def _among_the_nearest(self) -> None:
        nearest = SystematicSearch(NEAR_RUNS_MAX, NEAR_DEVIATIONS_MAX)
        while self._steps_left > 0 and (chooser := nearest.next_chooser()) is not None:
            self._keep_if_smaller(chooser)

    def _keep_if_smaller(self, chooser: Chooser) -> bool:
        run, steps = self._attempt(chooser, steps_worth(self.best))
        self._steps_left -= RUN_STEPS + steps
        if run is None or run.kind != self.best.kind or run.size >= self.best.size:
            return False
        self.best = run
        return True
