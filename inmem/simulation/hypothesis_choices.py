"""Hypothesis makes the choices: it finds failing schedules its own way and shrinks them with its own means.

Needs Hypothesis, which inmem itself does not depend on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from inmem.simulation.faults import allowed_faults
from inmem.simulation.scenario import require_function
from inmem.simulation.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import DataObject

    from inmem.simulation.choices import Labels
    from inmem.simulation.faults import Faults

CHANCE_STEPS = 1_000
"""How finely odds are drawn."""


class HypothesisChooser:
    """Draws every choice from Hypothesis.

    Args:
        data: from ``hypothesis.strategies.data()``.
    """

    def __init__(self, data: DataObject) -> None:
        # A source of random numbers that Hypothesis controls and shrinks; quicker than a draw for each choice.
        self._random = data.draw(st.randoms(use_true_random=False))
        self._stop: BaseException | None = None
        self.made: list[int] = []

    def choose(self, count: int, labels: Labels | None = None) -> int:  # noqa: ARG002
        """Return any alternative; Hypothesis prefers the first."""
        if count == 1:
            return 0
        choice = self._draw(count)
        self.made.append(choice)
        return choice

    def chance(self, probability: float) -> bool:
        """Return True with about the given probability; Hypothesis prefers False."""
        if probability <= 0:
            return False
        happens = self._draw(CHANCE_STEPS) >= CHANCE_STEPS * (1 - probability)
        self.made.append(int(happens))
        return happens

    def finish(self) -> None:
        """End the test case the way Hypothesis wanted it to end, if it did."""
        if self._stop is not None:
            raise self._stop

    def _draw(self, count: int) -> int:
        # Hypothesis ends a test case by raising from a draw. That may be inside an actor's handler, which would take
        # it for a failure of the actor and go on. So the run goes on without it, the simplest way, and `finish` ends
        # the case.
        if self._stop is None:
            try:
                return self._random.randrange(count)
            except BaseException as stop:  # noqa: BLE001
                self._stop = stop
        return 0


def hypothesis_test(scenario: Callable[[Simulation], object], *, faults: Faults | None = None) -> Callable[[], None]:
    """Return a Hypothesis test of `scenario`, to be called or to be collected by pytest under a name ``test_…``.

    Hypothesis's own settings apply: ``settings(max_examples=500)(hypothesis_test(scenario))``. It keeps the failures
    found under the scenario's qualified name, which those that one function has made share.

    Raises:
        UsageError: an argument is not acceptable.
    """
    require_function("scenario", scenario)
    allowed = allowed_faults(faults)

    def test(data: DataObject) -> None:
        chooser = HypothesisChooser(data)
        try:
            Simulation(0, allowed, chooser=chooser).check(scenario)
        finally:
            chooser.finish()

    # To Hypothesis tests of equal source are one test: its database would keep no more failures than of one scenario.
    test.__module__, test.__qualname__ = (
        scenario.__module__,
        getattr(scenario, "__qualname__", type(scenario).__qualname__),
    )
    name = test.__qualname__.rpartition(".")[2]
    # `<lambda>` is no name that Hypothesis could give to a function.
    test.__name__ = name if name.isidentifier() else test.__name__
    vars(test)["_hypothesis_internal_add_digest"] = f"{test.__module__}.{test.__qualname__}".encode()
    run: Callable[[], None] = given(st.data())(test)
    return run
