"""A progress bar for slow operations, on stderr if that is a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING, Final, Protocol

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from inmem.cli.output import console

if TYPE_CHECKING:
    from collections.abc import Generator

PATIENCE_S: Final = 0.5
"""Seconds before the bar appears: for shorter operations it would only flicker."""


class OnProgress(Protocol):
    """A function that takes the progress of an operation."""

    def __call__(self, done: float, total: float | None, told: str = "") -> None:
        """Show that `done` of `total` is done, with the text `told`; None means that the total is unknown."""


@contextmanager
def progress(doing: str, *, is_typed: bool = False) -> Generator[OnProgress]:
    """Show `doing` and the progress that the block reports, until the block ends. The block must not print anything.

    Args:
        doing: what is being done.
        is_typed: whether somebody types what is read. Then nothing is shown: it would disturb the typing.
    """
    if is_typed or not sys.stderr.isatty():
        yield _show_nothing
        return
    bar = Progress(
        TextColumn(doing),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
    )
    task = bar.add_task("", total=None, told="")

    def show(done: float, total: float | None, told: str = "") -> None:
        bar.update(task, completed=done, total=total, told=told)

    with _shown_after(PATIENCE_S, bar):
        yield show


@contextmanager
def _shown_after(patience_s: float, bar: Progress) -> Generator[None]:
    """Start the bar once the block has taken `patience_s` seconds; before that do not even touch the cursor."""
    if patience_s <= 0:
        with bar:
            yield
        return
    timer = Timer(patience_s, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # The timer's thread may be starting the bar at this moment.
        timer.join()
        if bar.live.is_started:
            bar.stop()


def _show_nothing(done: float, total: float | None, told: str = "") -> None:
    """Do nothing."""
