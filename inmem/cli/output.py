"""Showing stored values to people and to programs.

People get text in which nothing can move the cursor or change colours; programs get JSON. JSON has no bytes and no
infinities: they become ``{"$bytes": "<base64>"}`` and ``{"$float": "nan"}``, ``"inf"`` or ``"-inf"``.
"""

from __future__ import annotations

import json
import math
import os
import unicodedata
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inmem.recorder.place import is_list, is_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

CELL_CHARS_MAX: Final = 500
"""A value in a table or tree: more than any terminal is wide."""

_GAP_COLUMNS: Final = 2

_CUT_COLUMNS_MIN: Final = 8
"""What is cut shorter says nothing any more."""

_PIPE_COLUMNS: Final = 1000
"""Nothing is cut to a width that no one has: into a pipe, lines are as long as they come."""


def console(*, stderr: bool = False) -> Console:
    """Return a console that writes what it is given, without markup, in colour on a terminal only."""
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _PIPE_COLUMNS
    return made


def show(what: RenderableType, target: Console | None = None) -> None:
    """Print a table or tree on the console; into a pipe without the blanks that fill its lines."""
    target = target or console()
    if target.is_terminal:
        target.print(what)
        return
    with target.capture() as captured:
        target.print(what)
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), file=target.file)


def print_json(value: Any) -> None:
    """Print what `as_json` made of something as one JSON document."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))


def as_json(value: Any) -> Any:
    """Return a stored value as JSON can hold it."""
    if is_object(value):
        return {key: as_json(part) for key, part in value.items()}
    if is_list(value):
        return [as_json(part) for part in value]
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    return value


def as_text(value: Any) -> str:
    """Return a stored value as JSON on one line, which may still hold characters that are not to be seen."""
    return json.dumps(as_json(value), ensure_ascii=False)


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


def moment(microseconds: int) -> str:
    """Return a stored time for people, in UTC."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest // 1000:03}"


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


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        is_cut: whether its texts may be cut short to make the table fit.
        is_optional: whether the column may be left out where there is no room for it.
        justify: "left" or "right".
    """

    name: str
    is_cut: bool = False
    is_optional: bool = False
    justify: Literal["left", "right"] = "left"


def table(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], width: int | None = None) -> Table:
    """Return a table that fits into `width` columns, by default the console's.

    What helps first is done first: optional columns go, the last one first; texts that may be cut are cut; names
    are folded.
    """
    width = console().width if width is None else width
    naturals = [
        max([cell_len(column.name), *(cell_len(str(row[at])) for row in rows)]) for at, column in enumerate(columns)
    ]
    needed = [
        min(natural, _CUT_COLUMNS_MIN) if column.is_cut else natural
        for column, natural in zip(columns, naturals, strict=True)
    ]
    shown = list(range(len(columns)))
    for at in reversed(range(len(columns))):
        if columns[at].is_optional and _width_of([needed[each] for each in shown]) > width:
            shown.remove(at)

    made = Table(box=None, padding=(0, _GAP_COLUMNS, 0, 0), pad_edge=False, header_style="bold")
    is_tight = _width_of([needed[at] for at in shown]) > width
    for at in shown:
        column = columns[at]
        # rich takes the room from columns that may be wrapped; a text that is not to be says so itself.
        may_shrink = column.is_cut or (is_tight and at == 0)
        made.add_column(column.name, justify=column.justify, no_wrap=not may_shrink, overflow="fold")
    for row in rows:
        made.add_row(*[_cut(row[at]) if columns[at].is_cut else row[at] for at in shown])
    return made


def _width_of(columns: list[int]) -> int:
    return sum(columns) + _GAP_COLUMNS * (len(columns) - 1)


def _cut(cell: str | Text) -> Text:
    text = Text(cell) if isinstance(cell, str) else cell
    text.no_wrap = True
    text.overflow = "ellipsis"
    return text


def _is_visible(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs"
