"""A failing schedule: what broke, how to replay it, and the messages that led there."""

from __future__ import annotations

import copyreg
import keyword
import sys
import textwrap
import traceback
from functools import cached_property
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, Final

from inmem.engine.errors import UsageError
from inmem.simulation.endless import Endless
from inmem.simulation.faults import NO_FAULTS
from inmem.simulation.frames import PYTEST, is_theirs, line_of, package_of
from inmem.simulation.promises import BrokenPromise
from inmem.simulation.scenario import MUST_NOT_DEPEND, NOT_DETERMINISTIC
from inmem.simulation.trace import as_mermaid, as_text, in_words, story, without_start_up

if TYPE_CHECKING:
    from collections.abc import Collection

    from inmem.simulation.faults import Faults
    from inmem.simulation.trace import Step

TEST_LINE_CHARS_MAX: Final = 88
"""Line length of a regression test: the usual default of formatters."""

LIST_ITEMS_MAX: Final = 20
"""Number of choices in one list."""

ALIKE_MIN: Final = 10
"""At least so many equal choices in a row are counted, not listed."""


def is_failure(error: BaseException, *, is_of_client: bool) -> bool:
    """Return whether an exception from a scenario is a finding, not a request to stop, skip or expect a failure.

    pytest's own exceptions do not derive from Exception, except the one that ends the session. A client that exits or
    is cancelled has failed. The scenario itself runs in a thread that others may want to stop.
    """
    # Code that raised one of pytest's exceptions has imported pytest.
    pytest = sys.modules.get("pytest")
    if pytest is not None:
        if isinstance(error, pytest.skip.Exception | pytest.exit.Exception | pytest.xfail.Exception):
            return False
        if isinstance(error, pytest.fail.Exception):
            return True
    unittest = sys.modules.get("unittest")
    if unittest is not None and isinstance(error, unittest.SkipTest):
        return False
    return isinstance(error, Exception) or (is_of_client and not isinstance(error, KeyboardInterrupt))


class FailingRun:
    """One failing run, as it was found or after shrinking.

    Attributes:
        choices: the choices made, without the zeros at the end, which are implied.
        steps: the steps that happened, except those that start actors.
        story: the steps without the store's internals, unless the store itself broke a promise.
        outsiders: names of the clients and users' actors.
        cause: the exception that was raised.
    """

    def __init__(self, choices: list[int], steps: list[Step], outsiders: Collection[str], cause: BaseException) -> None:
        while choices and not choices[-1]:
            choices.pop()
        self.choices = choices
        self.steps = without_start_up(steps)
        self.outsiders = outsiders
        self.cause = cause
        told = story(self.steps, outsiders)
        self.story = self.steps if isinstance(cause, BrokenPromise) or not told else told

    @cached_property
    def size(self) -> tuple[int, int, int, int, int, list[int]]:
        """What shrinking minimizes: first the length of the story, and how often it switches from one actor to another.

        Then the number of choices that are not the first alternative, the number of all steps, and the choices. An
        endless run has no meaningful length: only its choices count, and so how early it takes the endless path.
        """
        if self.is_endless:
            return 0, 0, sum(map(bool, self.choices)), 0, len(self.choices), self.choices
        tellers = [step.sender if step.sender in self.outsiders else step.receiver for step in self.story]
        turns = sum(1 for before, after in pairwise(tellers) if before != after)
        deviations = sum(1 for choice in self.choices if choice)
        return len(self.story), turns, deviations, len(self.steps), len(self.choices), self.choices

    @property
    def is_endless(self) -> bool:
        """Whether clients went on until the run was given up."""
        return isinstance(self.cause, Endless)

    @property
    def kind(self) -> tuple[type[BaseException], str, int]:
        """The type of the exception and where it was raised: two runs of the same kind fail for the same reason."""
        file, line = "", 0
        for frame, number in traceback.walk_tb(self.cause.__traceback__):
            if package_of(frame) != PYTEST:
                file, line = frame.f_code.co_filename, number
        return type(self.cause), file, line

    def is_like(self, other: FailingRun) -> bool:
        """Return whether the other run failed for the same reason after the same course."""
        return self.kind == other.kind and self.choices == other.choices and len(self.steps) == len(other.steps)

    @property
    def place(self) -> str:
        """``file:line, in function: source`` of the innermost frame of the scenario, or "" if there is none."""
        found = ""
        for frame, line in traceback.walk_tb(self.cause.__traceback__):
            if is_theirs(frame):
                found = line_of(frame, line)
        return found


def told_of_repetition(run: FailingRun | None) -> str:
    """Return what to say of a repetition that has ended otherwise than the failing run: it failed as `run`, or passed.

    Args:
        run: the repetition if it failed; None if it passed.
    """
    ended = "passed" if run is None else f"ended with {_said(run.cause).splitlines()[0]}"
    return (
        f"{NOT_DETERMINISTIC} and {ended}, so this run cannot be replayed or made smaller. {MUST_NOT_DEPEND} "
        "What happened:"
    )


class SimulationFailure(AssertionError):  # noqa: N818  (as pytest's own failures)
    """A scenario failed under a schedule.

    It can be pickled and copied, so that a process pool can return it. A copy has text in place of the messages and the
    cause, because these may hold objects that cannot leave the process.

    Args:
        scenario: the scenario's qualified name, "" if it has none.
        found_by: what found the failure, in words.
        seed: the seed of the run that found it.
        faults: the faults that were allowed.
        run: the smallest failing run that was found.
        is_smallest: whether a smaller run was looked for.
        is_of_seed: whether the seed alone makes the choices of this run, so that they need not be shown.
        repetition: what `told_of_repetition` returns, if the run was repeated with another outcome.

    Attributes:
        seed: the seed of the run that found it.
        faults: the faults allowed in the smallest run; none if it fails without.
        choices: the choices of the smallest failing run, for `replay`.
        steps: the steps of that run, in full.
        story: the steps without the store's internals, unless the store itself broke a promise.
        cause: the exception that the run raised.
    """

    __module__ = "inmem.simulation"  # where it is imported from

    def __init__(
        self,
        scenario: str,
        found_by: str,
        seed: int,
        faults: Faults,
        run: FailingRun,
        *,
        is_smallest: bool = True,
        is_of_seed: bool = False,
        repetition: str | None = None,
    ) -> None:
        self.seed = seed
        self.faults = faults
        self.choices = run.choices
        self.steps = run.steps
        self.story = run.story
        self.cause = run.cause
        self._scenario = scenario
        self._is_of_seed = is_of_seed
        self._said = _said(run.cause)
        place = f"    at {run.place}\n" if run.place else ""
        which = "smallest run that was found" if is_smallest else "run"
        advice = repetition if repetition is not None else f"To replay the {which}:\n\n    {self.command}"
        told = as_text(self.story, whole=False)
        super().__init__(f"{self._said}\n{place}\nfound by {found_by}. {advice}\n\n{told}\n")

    def __reduce__(self) -> tuple[Any, ...]:
        # Restored without calling __init__, which takes the run; see InmemError.
        state = vars(self) | {
            "steps": in_words(self.steps),
            "story": in_words(self.story),
            "cause": AssertionError(_said(self.cause)),
        }
        return copyreg.__newobj__, (type(self), *self.args), state  # type: ignore[attr-defined]

    @property
    def command(self) -> str:
        """One line of Python that replays the smallest failing run that was found."""
        name = self._scenario.rpartition(".")[2]
        return f"replay({', '.join(self._arguments(name if name.isidentifier() else 'scenario'))})"

    def as_text(self) -> str:
        """Return the failing run as numbered lines, including everything that happened inside the store."""
        return as_text(self.steps)

    def as_mermaid(self) -> str:
        """Return the failing run as a Mermaid sequence diagram. A long story is cut to its beginning and end."""
        return as_mermaid(self.story)

    def as_test(self, module: str, scenario: str | None = None) -> str:
        """Return the source of a regression test that replays the failing run.

        Args:
            module: the module that the scenario can be imported from.
            scenario: the scenario's name there; by default its own name.

        Raises:
            UsageError: `module` is not a module's name, or the scenario has no importable name: a lambda, or a function
                made inside another one, has none unless you pass one.
        """
        if not _is_module(module):
            raise UsageError(f"module: must be the name of a module, not {module!r}")
        name = self._scenario if scenario is None else scenario
        if not _is_name(name):
            shown = repr(name) if name else "one without a name"
            raise UsageError(
                f"scenario: a test can import a function of a module, not {shown}; if {module} has it under a name, "
                "give that"
            )
        number = str(self.seed).replace("-", "minus_")
        replayed = f"    replay({', '.join(self._arguments(name))})"
        if len(replayed) > TEST_LINE_CHARS_MAX:
            arguments = self._arguments(name, "\n        + ")
            replayed = "    replay(\n" + "".join(f"        {argument},\n" for argument in arguments) + "    )"
        said = textwrap.wrap(f"Found by simulation: {self._said.splitlines()[0]}", TEST_LINE_CHARS_MAX - len("    # "))
        comment = textwrap.indent("\n".join(said), "    # ")
        imported = "replay" if self.faults == NO_FAULTS else "Faults, replay"
        return (
            f"from inmem.simulation import {imported}\nfrom {module} import {name}\n\n\n"
            f"def test_{name}_seed_{number}() -> None:\n"
            f"{comment}\n"
            f"{replayed}\n"
        )

    def _arguments(self, scenario: str, joint: str = " + ") -> list[str]:
        """Return those of `replay`."""
        parts = [scenario, f"seed={self.seed}"]
        if not self._is_of_seed:
            parts.append(f"choices={joint.join(_runs_of(self.choices))}")
        return parts if self.faults == NO_FAULTS else [*parts, f"faults={self.faults!r}"]


def _is_module(word: object) -> bool:
    return isinstance(word, str) and all(map(_is_name, word.split(".")))


def _is_name(word: object) -> bool:
    return isinstance(word, str) and word.isidentifier() and not keyword.iskeyword(word)


def _said(error: BaseException) -> str:
    """Return the error as Python prints it below a traceback; for a bare assertion, only its type."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _runs_of(choices: list[int]) -> list[str]:
    """Return the choices as list expressions to be added up, with many equal ones in a row as ``[0] * 177``."""
    parts: list[str] = []
    others: list[int] = []
    for choice, group in groupby(choices):
        run = list(group)
        if len(run) >= ALIKE_MIN:
            parts += [*_lists_of(others), f"[{choice}] * {len(run)}"]
            others = []
        else:
            others += run
    return [*parts, *_lists_of(others)] or ["[]"]


def _lists_of(choices: list[int]) -> list[str]:
    return [str(choices[start : start + LIST_ITEMS_MAX]) for start in range(0, len(choices), LIST_ITEMS_MAX)]
