"""Tables that fit the terminal without losing a column: texts are cut or folded, and at last rows become blocks.

Into a pipe there is no width to fit, and every text stands whole on the line of its row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from inmem.cli.output import CELL_CHARS_MAX, console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

_GAP_COLUMNS: Final = 2

_NARROWEST: Final = {"cut": 8, "fold": 12}
"""What is cut shorter says nothing any more; what is folded narrower is hard to put together again."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        shrinks: what becomes of texts that do not fit: they are cut short, they go on in the next line, or the
            column never is narrower than its texts.
        justify: "left" or "right".
    """

    name: str
    shrinks: Literal["never", "cut", "fold"] = "never"
    justify: Literal["left", "right"] = "left"


def table(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], width: int | None = None) -> RenderableType:
    """Return a table that fits into `width` columns, by default the console's, and shows every column.

    Where the columns cannot stand side by side, each row becomes a block with a line for each column.
    """
    width = console().width if width is None else width
    naturals = [
        max([cell_len(column.name), *(cell_len(str(row[at])) for row in rows)]) for at, column in enumerate(columns)
    ]
    if sum(naturals) + _GAP_COLUMNS * (len(columns) - 1) <= width:
        return _lines(columns, rows, naturals)
    widths = [
        min(natural, _NARROWEST.get(column.shrinks, natural)) for column, natural in zip(columns, naturals, strict=True)
    ]
    left = width - sum(widths) - _GAP_COLUMNS * (len(columns) - 1)
    if left < 0:
        return _blocks(columns, rows)
    for at, natural in enumerate(naturals):
        more = min(natural - widths[at], left)
        widths[at] += more
        left -= more

    made = Table(box=None, padding=(0, _GAP_COLUMNS, 0, 0), pad_edge=False, header_style="bold")
    for column, column_width in zip(columns, widths, strict=True):
        made.add_column(column.name, justify=column.justify, width=column_width, overflow="fold")
    for row in rows:
        made.add_row(*[_cell(text, column) for text, column in zip(row, columns, strict=True)])
    return made


def _lines(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], naturals: Sequence[int]) -> Group:
    lines: list[Text] = []
    for row in ([Text(column.name, "bold") for column in columns], *rows):
        line = Text()
        for cell, column, natural in zip(row, columns, naturals, strict=True):
            # One text of megabytes does not make every other line as long: only its own goes beyond the column.
            blanks = " " * (min(natural, CELL_CHARS_MAX) - cell_len(str(cell)))
            line.append(blanks if column.justify == "right" else "").append_text(_text(cell))
            line.append((blanks if column.justify == "left" else "") + " " * _GAP_COLUMNS)
        line.rstrip()
        lines.append(line)
    return Group(*lines)


def _blocks(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> Table:
    made = Table.grid(padding=(0, _GAP_COLUMNS, 0, 0))
    made.add_column(style="bold", overflow="fold")
    made.add_column(overflow="fold")
    for number, row in enumerate(rows):
        if number:
            made.add_row()
        for column, text in zip(columns, row, strict=True):
            made.add_row(column.name, text)
    return made


def _cell(cell: str | Text, column: Column) -> Text:
    text = _text(cell)
    if column.shrinks == "cut":
        text.no_wrap = True
        text.overflow = "ellipsis"
    return text


def _text(cell: str | Text) -> Text:
    return Text(cell) if isinstance(cell, str) else cell.copy()
