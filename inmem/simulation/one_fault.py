"""Looks for a failing run with fewer faults: most failures that need a fault need one, in the default order of events.

Leaving a fault out of the choices of a run does not find it: without the fault the run takes another course, in which
the choices that follow mean something else. So runs with one fault are tried, one place after another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.simulation.choices import Chooser
from inmem.simulation.faults import kinds_of
from inmem.simulation.shrinking import RUN_STEPS, steps_worth, steps_worth_shrinking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from inmem.simulation.choices import Labels
    from inmem.simulation.failure import FailingRun
    from inmem.simulation.faults import Faults

    Attempt = Callable[[Chooser, Faults, int], tuple[FailingRun | None, int]]

KIND_STEPS_MAX = 30_000
"""Steps spent on one kind of fault: a second or two."""


class OneFaultChooser(Chooser):
    """The default order with one rare event.

    Args:
        number: which of the rare events that could happen is the one that does, counted from 0.

    Attributes:
        rare: how many rare events could have happened so far.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self.rare = 0

    def _pick(self, count: int, labels: Labels | None) -> int:  # noqa: ARG002
        return 0

    def _happens(self, probability: float) -> bool:  # noqa: ARG002
        happens = self.rare == self._number
        self.rare += 1
        return happens


def with_one_kind(
    faults: Faults, run: FailingRun, attempt: Attempt, others: Callable[[], Iterable[Chooser]]
) -> tuple[Faults, FailingRun, int]:
    """Return one kind of fault and a run that fails with it as the given run does, or the arguments if none was found.

    The third item is how many steps this took: at most about half of those that making the run smaller is worth.

    Args:
        faults: the faults that were allowed.
        run: the failing run.
        attempt: runs the scenario with a chooser and faults for at most the given number of steps; returns the run if
            it fails, and how many steps it took.
        others: returns choosers to try if no single fault is enough.
    """
    spent = 0
    kinds = kinds_of(faults)
    for number, kind in enumerate(kinds):
        share = min(KIND_STEPS_MAX, (steps_worth_shrinking(run) // 2 - spent) // (len(kinds) - number))
        for choosers, steps_max in ((_single_faults(), share * 3 // 4), (others(), share // 4)):
            found, steps = _first_alike(choosers, kind, run, attempt, steps_max)
            spent += steps
            # A run with fewer kinds of faults is easier to understand even if it is longer.
            if found is not None and (len(kinds) > 1 or found.size < run.size):
                return kind, found, spent
    return faults, run, spent


def _first_alike(
    choosers: Iterable[Chooser], kind: Faults, run: FailingRun, attempt: Attempt, steps_max: int
) -> tuple[FailingRun | None, int]:
    """Return the first run that fails as the given run does, None if there is none, and how many steps that took."""
    spent = 0
    for chooser in choosers:
        if spent >= steps_max:
            break
        found, steps = attempt(chooser, kind, steps_worth(run))
        spent += RUN_STEPS + steps
        # Another kind of fault may cause an error of the same type elsewhere, which is another finding.
        if found is not None and (found.kind, found.place) == (run.kind, run.place):
            return found, spent
    return None, spent


def _single_faults() -> Iterator[OneFaultChooser]:
    """Yield a chooser for each place where a fault can happen, in turn."""
    number = 0
    while True:
        chooser = OneFaultChooser(number)
        yield chooser
        number += 1
        if chooser.rare < number:
            return
