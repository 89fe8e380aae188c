"""Showing stored values to people and to programs.

In neither text nor JSON can anything move the cursor or change colours. json_values.py says how JSON holds what it has
no form for.
"""

from __future__ import annotations

import json
import os
import unicodedata
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from inmem.json_values import to_json

if TYPE_CHECKING:
    from rich.console import RenderableType

CELL_CHARS_MAX: Final = 500
"""A value in a table or tree: more than any terminal is wide."""

_PIPE_COLUMNS: Final = 1000
"""Nothing is cut to a width that no one has: into a pipe, lines are as long as they come."""


def console(*, stderr: bool = False) -> Console:
    """Return a console that writes what it is given, without markup, in colour on a terminal only.

    NO_COLOR and FORCE_COLOR are heeded as rich does.
    """
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not made.file.isatty() and "COLUMNS" not in os.environ:
        made.width = _PIPE_COLUMNS
    return made


def show(what: RenderableType, target: Console | None = None) -> None:
    """Print a table or tree on the console; into a pipe without the blanks that fill its lines."""
    target = target or console()
    if target.file.isatty():
        target.print(what)
        return
    with target.capture() as captured:
        target.print(what)
    for line in captured.get().splitlines():
        # Whether there are colours was the console's decision.
        click.echo(line.rstrip(), file=target.file, color=True)


def print_json(value: Any) -> None:
    """Print something that JSON can hold as one JSON document."""
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    if not text.replace("\n", "").isprintable():
        # What is not to be seen stands within strings, where JSON has an escape for it.
        text = "".join([char if char == "\n" or _is_visible(char) else json.dumps(char)[1:-1] for char in text])
    click.echo(text)


def as_text(value: Any) -> str:
    """Return a stored value as JSON on one line, which may still hold characters that are not to be seen."""
    return json.dumps(to_json(value), ensure_ascii=False)


def one_line(value: Any, chars_max: int = CELL_CHARS_MAX) -> str:
    """Return a stored value on one line: text as it is, all else as JSON."""
    text = value if isinstance(value, str) else as_text(value)
    if len(text) > chars_max:
        text = text[: chars_max - 1] + "…"
    return printable(text)


def printable(text: str) -> str:
    """Return the text with every character that is not to be seen replaced by its escape."""
    if text.isprintable():
        return text
    return "".join([char if _is_visible(char) else char.encode("unicode_escape").decode() for char in text])


def size(byte_count: int) -> str:
    """Return a size in bytes for people."""
    if byte_count < 1000:
        return f"{byte_count} bytes"
    amount, unit = byte_count / 1000, "kB"
    while amount >= 1000 and unit != "GB":
        amount, unit = amount / 1000, {"kB": "MB", "MB": "GB"}[unit]
    return f"{amount:.1f} {unit}"


def counted(number: int, noun: str) -> str:
    """Return ``1 run``, ``1,200 runs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _is_visible(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs"
