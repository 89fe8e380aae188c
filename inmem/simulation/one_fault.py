"""Failing with fewer faults: most failures that need one at all need one only, in the default order of everything else.

The choices of a run in which more went wrong do not lead there. Without its first fault the run takes another course,
and the choices after that mean something else in it. So such runs are looked for one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.simulation.faults import kinds_of
from inmem.simulation.shrinking import RUN_STEPS, steps_worth, steps_worth_shrinking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from inmem.simulation.choices import Chooser, Labels
    from inmem.simulation.failure import FailingRun
    from inmem.simulation.faults import Faults

    Attempt = Callable[[Chooser, Faults, int], tuple[FailingRun | None, int]]

KIND_STEPS_MAX = 30_000
"""Steps spent on one kind of faults: a second or two."""


class OneFaultChooser:
    """The default order, in which one of the rare events happens.

    Args:
        number: of that event, from 0 on.

    Attributes:
        rare: how many could have happened so far.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self.rare = 0
        self.made: list[int] = []

    def choose(self, count: int, labels: Labels | None = None) -> int:  # noqa: ARG002
        """Return the first alternative."""
        if count > 1:
            self.made.append(0)
        return 0

    def chance(self, probability: float) -> bool:
        """Return whether this is the one."""
        if probability <= 0:
            return False
        happens = self.rare == self._number
        self.rare += 1
        self.made.append(int(happens))
        return happens


def with_one_kind(
    faults: Faults, run: FailingRun, attempt: Attempt, others: Callable[[], Iterable[Chooser]]
) -> tuple[Faults, FailingRun, int]:
    """Return a run that fails as this one did, with one kind of faults, and that kind; or both as they are.

    The third is how many steps that took: about half of what may be spent on making the run smaller, at most.

    Args:
        faults: that were allowed.
        run: to begin with.
        attempt: runs the scenario with a chooser and faults, for so many steps at most; returns the run if it fails,
            and how many there were.
        others: returns choosers to be tried should no single fault do.
    """
    spent = 0
    kinds = kinds_of(faults)
    for number, kind in enumerate(kinds):
        share = min(KIND_STEPS_MAX, (steps_worth_shrinking(run) // 2 - spent) // (len(kinds) - number))
        for choosers, steps_max in ((_single_faults(), share * 3 // 4), (others(), share // 4)):
            found, steps = _first_alike(choosers, kind, run, attempt, steps_max)
            spent += steps
            # With fewer kinds it may be longer, yet it leaves less to think of.
            if found is not None and (len(kinds) > 1 or found.size < run.size):
                return kind, found, spent
    return faults, run, spent


def _first_alike(
    choosers: Iterable[Chooser], kind: Faults, run: FailingRun, attempt: Attempt, steps_max: int
) -> tuple[FailingRun | None, int]:
    """Return the first run that fails as the given one did, if there is one, and how many steps that took."""
    spent = 0
    for chooser in choosers:
        if spent >= steps_max:
            break
        found, steps = attempt(chooser, kind, steps_worth(run))
        spent += RUN_STEPS + steps
        # Another kind of faults may lead to an error of the same type elsewhere: that would be another finding.
        if found is not None and (found.kind, found.place) == (run.kind, run.place):
            return found, spent
    return None, spent


def _single_faults() -> Iterator[OneFaultChooser]:
    """Give choosers for each place in which a fault can happen, in turn."""
    number = 0
    while True:
        chooser = OneFaultChooser(number)
        yield chooser
        number += 1
        if chooser.rare < number:
            return
