"""Telling on stderr, if it is a terminal, that something is under way that takes its time."""

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
"""What is over sooner shows nothing: a bar that flickers tells nobody anything."""


class OnProgress(Protocol):
    """Takes how far it has come."""

    def __call__(self, done: float, total: float | None, told: str = "") -> None:
        """Show that `done` of `total` is done, and what else there is to tell; no total means that nobody knows."""


@contextmanager
def progress(doing: str) -> Generator[OnProgress]:
    """Show that `doing` is under way until the block ends, and how far it is as far as the block tells."""
    if not sys.stderr.isatty():
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
    """Start the bar when the block has taken so long, if it does; before that not even the cursor is touched."""
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
        # It may be starting the bar just now.
        timer.join()
        if bar.live.is_started:
            bar.stop()


def _show_nothing(done: float, total: float | None, told: str = "") -> None:
    """Nobody is looking."""
