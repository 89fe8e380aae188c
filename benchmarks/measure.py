"""The method of measurement: contenders take turns in each of several rounds, and the median round counts.

Machines are shared and noisy. A disturbance in one round affects all contenders of that round alike. So ratios are
taken within a round, and targets are compared with the median ratio.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.contender import Doing

BATCH = 20
"""Operations between two readings of the clock."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The duration of a run and the place of its files.

    Attributes:
        folder: a folder on the disk to be measured.
        rounds: how many turns each contender has.
        seconds: the length of one turn.
        quick: whether to use smaller stores and fewer points.
    """

    folder: Path
    rounds: int
    seconds: float
    quick: bool

    def pick(self, full: int, quick: int) -> int:
        """Return the size that a subject should use."""
        return quick if self.quick else full


@dataclass(slots=True)
class Figure:
    """The results of one contender in one subject.

    Attributes:
        name: the name of the contender.
        unit: such as "/s"; units that end in "/s" are better when higher, all others when lower.
        rounds: one value for each round.
        at: the position on the x axis, for subjects that measure growth.
    """

    name: str
    unit: str
    rounds: list[float]
    at: float | None = None

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half the distance between the best and the worst round, as a share of the median."""
        return (max(self.rounds) - min(self.rounds)) / 2 / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """The target for a figure.

    Attributes:
        of: name of the figure.
        at_least: least acceptable value, or None.
        at_most: greatest acceptable value, or None.
        per: name of the figure it is divided by, round by round; None for the value itself.
        full_only: whether a quick run is too small to judge it.
    """

    of: str
    at_least: float | None = None
    at_most: float | None = None
    per: str | None = None
    full_only: bool = False

    def value(self, figures: Sequence[Figure]) -> float | None:
        """Return the measured value, or None if one of the figures is missing."""
        by_name = {figure.name: figure for figure in figures}
        mine = by_name.get(self.of)
        if mine is None:
            return None
        if self.per is None:
            return mine.median
        other = by_name.get(self.per)
        if other is None:
            return None
        return statistics.median(a / b for a, b in zip(mine.rounds, other.rounds, strict=True))

    def is_met(self, value: float) -> bool:
        """Return whether `value` meets the target."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@dataclass(slots=True)
class Result:
    """The result of a subject.

    Attributes:
        figures: the figures, in the order in which they are shown.
        skipped: messages about contenders that are not installed.
        notes: facts shown with the figures.
        axis: the unit of `Figure.at`, for subjects that measure growth.
    """

    figures: list[Figure] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    axis: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """One measurement.

    Attributes:
        name: its name on the command line.
        title: its title in tables and plots.
        run: does the measurement.
        targets: the targets for its figures.
    """

    name: str
    title: str
    run: Callable[[Settings], Result]
    targets: tuple[Target, ...] = ()


def contest(
    settings: Settings, contenders: Sequence[Doing], *, clients: int = 1, unit: str = "/s", scale: float = 1.0
) -> Result:
    """Let the contenders take turns and return their rates; skip contenders that are not installed.

    Args:
        settings: rounds, seconds and folder.
        contenders: the contenders, in the order of their turns.
        clients: the number of client threads of each contender.
        unit: the unit of the result.
        scale: the factor by which each rate is multiplied.
    """
    result = Result()
    with ExitStack() as stack:
        ready: list[tuple[Figure, list[Callable[[], object]]]] = []
        for number, contender in enumerate(contenders):
            package = contender.missing()
            if package is not None:
                result.skipped.append(f"{contender.name}: skipped, {package} is not installed")
                continue
            folder = settings.folder / f"{number}-{time.monotonic_ns()}"
            works = stack.enter_context(contender.clients(folder, clients))
            figure = Figure(contender.name, unit, [])
            ready.append((figure, works))
            rate(works, min(0.1, settings.seconds))
        for _ in range(settings.rounds):
            for figure, works in ready:
                figure.rounds.append(rate(works, settings.seconds) * scale)
        result.figures = [figure for figure, _ in ready]
    return result


def rate(works: Sequence[Callable[[], object]], seconds: float) -> float:
    """Return the operations per second of all clients together; several clients run in a thread each."""
    gc.collect()
    if len(works) == 1:
        started = time.perf_counter()
        done = _repeat(works[0], started + seconds)
        return done / (time.perf_counter() - started)
    counts = [0] * len(works)
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(works) + 1)

    def client(index: int) -> None:
        barrier.wait()
        try:
            counts[index] = _repeat(works[index], time.perf_counter() + seconds, batch=1)
        except BaseException as error:  # noqa: BLE001  (raised again below, by the thread that measures)
            errors.append(error)

    threads = [threading.Thread(target=client, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    barrier.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    if errors:
        raise errors[0]
    return sum(counts) / elapsed


def _repeat(work: Callable[[], object], until: float, batch: int = BATCH) -> int:
    clock = time.perf_counter
    done = 0
    while clock() < until:
        for _ in range(batch):
            work()
        done += batch
    return done


def timed(work: Callable[[], object]) -> float:
    """Return the duration of one call in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the percentile of the ascending values `ordered` for `share`, from 0 to 1."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class CollectorPauses:
    """A context manager that records the duration of each garbage collection."""

    def __init__(self) -> None:
        self.pauses_s: list[float] = []
        self._started = 0.0

    def __enter__(self) -> Self:
        gc.callbacks.append(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._note)

    def _note(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._started = time.perf_counter()
        else:
            self.pauses_s.append(time.perf_counter() - self._started)


def steps(settings: Settings, *values: int) -> Iterator[int]:
    """Yield the points of a growth curve: all of them, or in a quick run every other one, including the last."""
    chosen = values[::-1][::2][::-1] if settings.quick else values
    yield from chosen
