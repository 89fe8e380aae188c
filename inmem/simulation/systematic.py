"""Try every possible run of a small scenario, or every one within a given distance of the default order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.simulation.choices import Chooser

if TYPE_CHECKING:
    from inmem.simulation.choices import Labels


class SystematicSearch:
    """Hands out a chooser for every possible run, depth first.

    Args:
        runs_max: give up after so many runs.
        deviations_max: only runs that deviate at most so often from the default order, in which whatever was caused
            first happens first; None for all runs. With k choices of about two alternatives there are k**d runs of
            d deviations. Source: Emmi, Qadeer, Rakamarić, "Delay-Bounded Scheduling", POPL 2011: most ordering bugs
            need one or two.

    Attributes:
        runs: number of runs handed out.
        complete: whether these were all runs within the bound.
    """

    def __init__(self, runs_max: int, deviations_max: int | None = None) -> None:
        self._runs_max = runs_max
        self._deviations_max = deviations_max
        self._path: list[tuple[int, int]] = []
        self.runs = 0
        self.complete = False

    def next_chooser(self) -> PathChooser | None:
        """Return the chooser of the next run, or None when the search is over."""
        path = self._path
        if self.runs:
            while path and not self._can_advance():
                path.pop()
            if not path:
                self.complete = True
                return None
            choice, count = path[-1]
            path[-1] = (choice + 1, count)
        if self.runs >= self._runs_max:
            return None
        self.runs += 1
        return PathChooser(path)

    def _can_advance(self) -> bool:
        choice, count = self._path[-1]
        if choice + 1 >= count:
            return False
        deviations = sum(1 for earlier, _ in self._path[:-1] if earlier)
        return self._deviations_max is None or deviations < self._deviations_max


class PathChooser(Chooser):
    """Follows a path of (choice, number of alternatives) and extends it by first alternatives.

    Attributes:
        path: the path so far.
    """

    def __init__(self, path: list[tuple[int, int]]) -> None:
        super().__init__()
        self.path = path
        self._given = len(path)
        self._has_strayed = False

    @property
    def is_astray(self) -> bool:
        """Whether the run left its path: a choice had another number of alternatives, or there were fewer choices."""
        return self._has_strayed or len(self.made) < self._given

    def _pick(self, count: int, labels: Labels | None) -> int:  # noqa: ARG002
        position = len(self.made)
        if position == len(self.path):
            self.path.append((0, count))
        choice, alternatives = self.path[position]
        if alternatives != count:
            # Raising here would not help: the caller may be an actor's handler.
            self._has_strayed = True
            choice = min(choice, count - 1)
        return choice

    def _happens(self, probability: float) -> bool:  # noqa: ARG002
        return self._pick(2, None) == 1
