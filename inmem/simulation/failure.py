"""A failing schedule: what broke, how to replay it, and the messages that led there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.simulation.promises import BrokenPromise
from inmem.simulation.trace import as_mermaid, as_text, story, without_start_up

if TYPE_CHECKING:
    from collections.abc import Collection

    from inmem.simulation.faults import Faults
    from inmem.simulation.trace import Step


class FailingRun:
    """One failing run, as it is found and while it is made smaller.

    Attributes:
        choices: that were made, without the zeros at their end, which need not be said.
        steps: that happened, except those of actors being started.
        outsiders: names of the clients and users' actors.
        cause: what was raised.
    """

    def __init__(self, choices: list[int], steps: list[Step], outsiders: Collection[str], cause: BaseException) -> None:
        while choices and not choices[-1]:
            choices.pop()
        self.choices = choices
        self.steps = without_start_up(steps)
        self.outsiders = outsiders
        self.cause = cause

    @property
    def size(self) -> tuple[int, int, int, list[int]]:
        """What shrinking makes smaller: steps, then choices that are not the first alternative, then all choices."""
        deviations = sum(1 for choice in self.choices if choice)
        return len(self.steps), deviations, len(self.choices), self.choices

    @property
    def kind(self) -> tuple[type[BaseException], str, int]:
        """The type of what was raised and the place: two runs of the same kind fail for the same reason."""
        traceback = self.cause.__traceback__
        while traceback is not None and traceback.tb_next is not None:
            traceback = traceback.tb_next
        if traceback is None:
            return type(self.cause), "", 0
        return type(self.cause), traceback.tb_frame.f_code.co_filename, traceback.tb_lineno


class SimulationFailure(AssertionError):  # noqa: N818  (as pytest's own failures)
    """A scenario failed under a schedule.

    Attributes:
        seed: of the run that found it.
        faults: that were allowed.
        choices: of the smallest failing run; `replay` takes them.
        steps: of that run, in full.
        story: the same without the store's inner life, unless it is the store that broke its promise.
        cause: what it raised.
    """

    def __init__(self, scenario: str, found_by: str, seed: int, faults: Faults, run: FailingRun) -> None:
        self.seed = seed
        self.faults = faults
        self.choices = run.choices
        self.steps = run.steps
        told = story(run.steps, run.outsiders)
        self.story = run.steps if isinstance(run.cause, BrokenPromise) or not told else told
        self.cause = run.cause
        self._scenario = scenario
        super().__init__(
            f"{type(run.cause).__name__}: {run.cause}\n\n"
            f"found by {found_by}. To replay the smallest run that fails:\n\n"
            f"    {self.command}\n\n"
            f"{as_text(self.story)}\n\n{self.as_mermaid()}\n"
        )

    @property
    def command(self) -> str:
        """One line of Python that replays the smallest failing run."""
        return _command(self._scenario, self.seed, self.choices, self.faults)

    def as_text(self) -> str:
        """Return the failing run as numbered lines, with everything that went on inside the store."""
        return as_text(self.steps)

    def as_mermaid(self) -> str:
        """Return the failing run as a Mermaid sequence diagram."""
        return as_mermaid(self.story)

    def as_test(self, module: str, scenario: str | None = None) -> str:
        """Return the source of a regression test that replays the failing run.

        Args:
            module: where the scenario can be imported from.
            scenario: its name there, by default its own.
        """
        name = scenario or self._scenario
        reason = str(self.cause).splitlines()[0] if str(self.cause) else "no message"
        return (
            f"from inmem.simulation import Faults, replay\nfrom {module} import {name}\n\n\n"
            f"def test_{name}_seed_{self.seed}() -> None:\n"
            f"    # Found by simulation: {type(self.cause).__name__}: {reason}\n"
            f"    {_command(name, self.seed, self.choices, self.faults)}\n"
        )


def _command(scenario: str, seed: int, choices: list[int], faults: Faults) -> str:
    return f"replay({scenario}, seed={seed}, choices={choices}, faults={faults!r})"
