"""Telling on stderr, if it is a terminal, that something is under way that takes its time."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from inmem.cli.output import console

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from rich.console import RenderableType

PATIENCE_S: Final = 0.5
"""What is over sooner shows nothing: a bar that flickers tells nobody anything."""


class OnProgress(Protocol):
    """Takes how far it has come."""

    def __call__(self, done: float, total: float | None, told: str = "") -> None:
        """Show that `done` of `total` is done, and what else there is to tell; no total means that nobody knows."""


class _PatientProgress(Progress):
    visible_from_s = 0.0

    def get_renderables(self) -> Iterable[RenderableType]:
        if time.monotonic() >= self.visible_from_s:
            yield from super().get_renderables()


@contextmanager
def progress(doing: str) -> Generator[OnProgress]:
    """Show that `doing` is under way until the block ends, and how far it is as far as the block tells."""
    if not sys.stderr.isatty():
        yield _show_nothing
        return
    bar = _PatientProgress(
        TextColumn(doing),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
    )
    bar.visible_from_s = time.monotonic() + PATIENCE_S
    with bar:
        task = bar.add_task("", total=None, told="")

        def show(done: float, total: float | None, told: str = "") -> None:
            bar.update(task, completed=done, total=total, told=told)

        yield show


def _show_nothing(done: float, total: float | None, told: str = "") -> None:
    """Nobody is looking."""
