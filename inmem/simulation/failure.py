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
"""Of a regression test: what formatters make of a file unless they are told otherwise."""

LIST_ITEMS_MAX: Final = 20
"""Of a list of choices in one line."""

ALIKE_MIN: Final = 10
"""So many equal ones in a row are counted and not listed."""


def is_failure(error: BaseException, *, is_of_client: bool) -> bool:
    """Whether what a scenario has raised is a finding, and not a request to stop, skip or expect a failure.

    Those of pytest are no subclasses of Exception, but for the one that is to end the session. A client that exits or
    is cancelled has failed; the scenario itself runs in a thread that others may want to stop.
    """
    # Who can have raised them has imported it.
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
    """One failing run, as it is found and while it is made smaller.

    Attributes:
        choices: that were made, without the zeros at their end, which need not be said.
        steps: that happened, except those of actors being started.
        story: the same without the store's inner life, unless it is the store that broke its promise.
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
        told = story(self.steps, outsiders)
        self.story = self.steps if isinstance(cause, BrokenPromise) or not told else told

    @cached_property
    def size(self) -> tuple[int, int, int, int, int, list[int]]:
        """What shrinking makes smaller: what there is to read, and how often it goes over from one to another.

        Then the choices that are not the first alternative, all steps, and all choices. What has no end has no length
        either: of that it is the choices alone, and so how early it takes the way that has no end.
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
        """The type of what was raised and the place: two runs of the same kind fail for the same reason."""
        file, line = "", 0
        for frame, number in traceback.walk_tb(self.cause.__traceback__):
            if package_of(frame) != PYTEST:
                file, line = frame.f_code.co_filename, number
        return type(self.cause), file, line

    def is_like(self, other: FailingRun) -> bool:
        """Whether the other run failed for the same reason after the same course."""
        return self.kind == other.kind and self.choices == other.choices and len(self.steps) == len(other.steps)

    @property
    def place(self) -> str:
        """``file:line, in function: source`` of the innermost frame of the scenario, "" if there is none."""
        found = ""
        for frame, line in traceback.walk_tb(self.cause.__traceback__):
            if is_theirs(frame):
                found = line_of(frame, line)
        return found


class Repetition:
    """What came of running a failing run once more, when that was something else.

    Args:
        run: how it failed then; None if it passed.
    """

    def __init__(self, run: FailingRun | None) -> None:
        self._ended = "passed" if run is None else f"ended with {_said(run.cause).splitlines()[0]}"

    def __str__(self) -> str:
        return (
            f"{NOT_DETERMINISTIC} and {self._ended}, so this run cannot be replayed or made smaller. {MUST_NOT_DEPEND} "
            "What happened:"
        )


class SimulationFailure(AssertionError):  # noqa: N818  (as pytest's own failures)
    """A scenario failed under a schedule.

    It can be pickled and copied, so that a pool of processes can hand it back. A copy has words in place of messages
    and of the cause, which may hold what cannot leave the process.

    Args:
        scenario: its qualified name, "" if it has none.
        found_by: in words.
        seed: of the run that found it.
        faults: that were allowed.
        run: the smallest that was found.
        is_smallest: whether a smaller one was looked for.
        is_of_seed: whether it is the run that the seed makes, so that nobody has to be shown its choices.
        repetition: what came of running it once more, if that was not the same.

    Attributes:
        seed: of the run that found it.
        faults: that were allowed in the smallest run; none, if it fails without.
        choices: of the smallest failing run; `replay` takes them.
        steps: of that run, in full.
        story: the same without the store's inner life, unless it is the store that broke its promise.
        cause: what it raised.
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
        repetition: Repetition | None = None,
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
        advice = str(repetition) if repetition else f"To replay the {which}:\n\n    {self.command}"
        told = as_text(self.story, whole=False)
        super().__init__(f"{self._said}\n{place}\nfound by {found_by}. {advice}\n\n{told}\n")

    def __reduce__(self) -> tuple[Any, ...]:
        # Without __init__, which takes the run; see InmemError.
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
        """Return the failing run as numbered lines, with everything that went on inside the store."""
        return as_text(self.steps)

    def as_mermaid(self) -> str:
        """Return the failing run as a Mermaid sequence diagram. Of a long story it has the beginning and the end."""
        return as_mermaid(self.story)

    def as_test(self, module: str, scenario: str | None = None) -> str:
        """Return the source of a regression test that replays the failing run.

        Args:
            module: where the scenario can be imported from.
            scenario: its name there, by default its own.

        Raises:
            UsageError: that is no name of a module, or of something in a module: a lambda, or a function that was made
                inside another one, has none unless you give it one.
        """
        if not all(_is_name(part) for part in module.split(".")):
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


def _is_name(word: str) -> bool:
    return word.isidentifier() and not keyword.iskeyword(word)


def _said(error: BaseException) -> str:
    """Return the error as Python prints it below a traceback; a bare assertion says nothing but its type."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _runs_of(choices: list[int]) -> list[str]:
    """Return the choices as lists to be added up, with many equal ones in a row as ``[0] * 177``."""
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
