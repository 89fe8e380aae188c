"""Let Hypothesis make the choices: it finds failing schedules and shrinks them by its own methods.

Needs Hypothesis, which inmem itself does not depend on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from inmem.simulation.choices import Chooser
from inmem.simulation.faults import allowed_faults
from inmem.simulation.scenario import require_function
from inmem.simulation.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import DataObject

    from inmem.simulation.choices import Labels
    from inmem.simulation.faults import Faults

CHANCE_STEPS = 1_000
"""The resolution with which odds are drawn."""


class HypothesisChooser(Chooser):
    """Draws every choice from Hypothesis, which prefers the first alternative, and rare events not to happen.

    Args:
        data: from ``hypothesis.strategies.data()``.
    """

    def __init__(self, data: DataObject) -> None:
        super().__init__()
        # A source of random numbers that Hypothesis controls and shrinks; faster than one draw per choice.
        self._random = data.draw(st.randoms(use_true_random=False))
        self._stop: BaseException | None = None

    def finish(self) -> None:
        """Raise the exception with which Hypothesis ended the test case, if it did."""
        if self._stop is not None:
            raise self._stop

    def _pick(self, count: int, labels: Labels | None) -> int:  # noqa: ARG002
        return self._draw(count)

    def _happens(self, probability: float) -> bool:
        return self._draw(CHANCE_STEPS) >= CHANCE_STEPS * (1 - probability)

    def _draw(self, count: int) -> int:
        # Hypothesis ends a test case by raising from a draw. Inside an actor's handler, the store would treat that as
        # a failure of the actor and go on. So the exception is kept, the run goes on with first alternatives, and
        # `finish` raises the exception.
        if self._stop is None:
            try:
                return self._random.randrange(count)
            except BaseException as stop:  # noqa: BLE001
                self._stop = stop
        return 0


def hypothesis_test(scenario: Callable[[Simulation], object], *, faults: Faults | None = None) -> Callable[[], None]:
    """Return a Hypothesis test of `scenario`. Call it, or let pytest collect it under a name ``test_…``.

    Hypothesis's own settings apply: ``settings(max_examples=500)(hypothesis_test(scenario))``. Its database keeps
    failures under the scenario's qualified name, which scenarios made by the same function share.

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

    # Hypothesis identifies tests by their source: without this, its database would keep the failures of only one
    # scenario.
    test.__module__, test.__qualname__ = (
        scenario.__module__,
        getattr(scenario, "__qualname__", type(scenario).__qualname__),
    )
    name = test.__qualname__.rpartition(".")[2]
    # Hypothesis cannot give a function the name `<lambda>`.
    test.__name__ = name if name.isidentifier() else test.__name__
    vars(test)["_hypothesis_internal_add_digest"] = f"{test.__module__}.{test.__qualname__}".encode()
    run: Callable[[], None] = given(st.data())(test)
    return run
