"""How things are measured: contenders take turns, round after round, and the median round counts.

Machines are shared and noisy. What disturbs one round disturbs all contenders of that round alike, so ratios are taken
within a round, and their median is what targets are held against.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

BATCH = 20
"""Operations between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How long a run may take, and where it puts its files.

    Attributes:
        folder: on the disk to be measured.
        rounds: how often each contender has its turn.
        seconds: the length of one turn.
        quick: smaller stores and fewer points.
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
    """What one contender achieved in one subject, in every round.

    Attributes:
        name: of the contender.
        unit: such as "/s"; units that end in "/s" are better when higher, all others when lower.
        rounds: one value each.
        at: where on the x axis, for subjects that measure growth.
    """

    name: str
    unit: str
    rounds: list[float]
    at: float | None = None

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half the distance between the best and the worst round, as a share of the median."""
        return (max(self.rounds) - min(self.rounds)) / 2 / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure has to reach.

    Attributes:
        of: name of the figure.
        at_least: least acceptable value, or None.
        at_most: greatest acceptable value, or None.
        per: name of the figure it is divided by, round by round; None for the value itself.
        full_only: a quick run is too small to judge it.
    """

    of: str
    at_least: float | None = None
    at_most: float | None = None
    per: str | None = None
    full_only: bool = False

    def value(self, figures: Sequence[Figure]) -> float | None:
        """Return what was reached, or None if one of the figures is missing."""
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
        """Tell whether `value` is good enough."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@dataclass(slots=True)
class Result:
    """What a subject found.

    Attributes:
        figures: in the order in which they are shown.
        skipped: contenders that are not installed.
        notes: facts that belong beside the figures.
        axis: what `Figure.at` counts, for subjects that measure growth.
    """

    figures: list[Figure] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    axis: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing that is measured.

    Attributes:
        name: for the command line.
        title: for people.
        run: does it.
        targets: what its figures have to reach.
    """

    name: str
    title: str
    run: Callable[[Settings], Result]
    targets: tuple[Target, ...] = ()


class Contender(Protocol):
    """Somebody who can do a piece of work."""

    @property
    def name(self) -> str:
        """For tables and plots."""
        ...

    def missing(self) -> str | None:
        """Return the name of the package that is needed and not installed, or None."""
        ...

    def clients(self, folder: Path, count: int) -> AbstractContextManager[list[Callable[[], object]]]:
        """Prepare a store in `folder`, and return the work of `count` clients on it."""
        ...


def contest(
    settings: Settings, contenders: Sequence[Contender], *, clients: int = 1, unit: str = "/s", scale: float = 1.0
) -> Result:
    """Let the contenders take turns and return the rates of each; those that are not installed are skipped.

    Args:
        settings: rounds, seconds and folder.
        contenders: in the order of their turns.
        clients: how many threads each works with.
        unit: of the result.
        scale: what one piece of work counts for.
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
    """Return operations per second of all clients together, each in a thread of its own if there are several."""
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
    """Return how many seconds one call took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` of the ascending `ordered` values do not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class CollectorPauses:
    """Notes how long each garbage collection takes while it is active."""

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
    """Yield the points of a growth curve: all of them, or every other one in a quick run, the last included."""
    chosen = values[::-1][::2][::-1] if settings.quick else values
    yield from chosen
