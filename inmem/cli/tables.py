"""Tables that fit the terminal without losing a column: texts move below, are cut or folded, or rows become blocks.

A pipe has no width to fit: there, every text is complete and on the line of its row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from rich.cells import cell_len
from rich.console import Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from inmem.cli.output import CELL_CHARS_MAX, console, has_width, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

_GAP_COLUMNS: Final = 2
_INDENT_COLUMNS: Final = 2

_NARROWEST: Final = {"cut": 8, "fold": 12}
"""The narrowest useful columns: text cut shorter says nothing, and text folded narrower is hard to read."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        shrinks: how texts that do not fit are shown: "cut" short, "fold"ed into the next line, or "below" their row on
            a separate line. "never" means that the column is never narrower than its texts.
        justify: "left" or "right".
    """

    name: str
    shrinks: Literal["never", "cut", "fold", "below"] = "never"
    justify: Literal["left", "right"] = "left"


def table(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], width: int | None = None) -> RenderableType:
    """Return a table that fits into `width` columns, by default the console's, and shows every column.

    If the columns do not fit side by side, each row becomes a block with a line for each column. A column is omitted
    only if there is no room for it, it could go below its rows, and it has no text in any row.
    """
    width = console().width if width is None else width
    naturals = [
        max([cell_len(column.name), *(cell_len(str(row[at])) for row in rows)]) for at, column in enumerate(columns)
    ]
    if _width(naturals) <= width:
        return _lines(columns, rows, naturals)
    beside, below = _parted(columns, rows, naturals, width)
    widths = _narrowed([columns[at] for at in beside], [naturals[at] for at in beside], width)
    labels = [columns[at].name for at in below]
    label_width = max(map(cell_len, labels), default=0)
    if widths is None or width < _INDENT_COLUMNS + label_width + _GAP_COLUMNS + _NARROWEST["fold"]:
        return _blocks(columns, rows)
    shown = [columns[at] for at in beside]
    if not below:
        return _grid(shown, [[row[at] for at in beside] for row in rows], widths, has_header=True)
    made: list[RenderableType] = [_grid(shown, [], widths, has_header=True)]
    for row in rows:
        made.append(_grid(shown, [[row[at] for at in beside]], widths))
        made.append(Padding(_labelled(labels, [row[at] for at in below], label_width), (0, 0, 0, _INDENT_COLUMNS)))
    return Group(*made)


class Facts:
    """Facts on one line, ``a, b, c``, or broken between facts into several lines if they do not fit."""

    def __init__(self, facts: Iterable[str]) -> None:
        self._facts = [*facts]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        line = ""
        for at, fact in enumerate(self._facts):
            added = fact if at == len(self._facts) - 1 else f"{fact},"
            longer = f"{line} {added}" if line else added
            if line and cell_len(longer) > options.max_width:
                yield Text(line)
                longer = added
            line = longer
        yield Text(line)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Return the width of the widest fact, and of all facts on one line."""
        widest = max(cell_len(fact) for fact in self._facts) + 1
        whole = cell_len(", ".join(self._facts))
        return Measurement(min(widest, whole), whole).with_maximum(options.max_width)


def show_rows(columns: Sequence[Column], rows: Iterable[Sequence[str]], beginnings: Iterable[Sequence[str]]) -> None:
    """Print a table of any number of rows like `show(table(...))`; into a pipe, hold only one row in memory.

    Args:
        columns: the columns; the last one is not right-justified.
        rows: the rows, of printable text.
        beginnings: the same rows without the last column. For a pipe, they give the widths of the other columns before
            the first row is written.
    """
    target = console()
    if has_width(target.file):
        show(table(columns, [*rows]), target)
        return
    writer = RowWriter(columns, beginnings)
    writer.write_header()
    for row in rows:
        writer.write(row)
    target.file.flush()


class RowWriter:
    """Writes the rows of a table one at a time, each on one line, which is cut if there is a width to fit.

    If that leaves too little of the last column, each row is a block with one line per column.

    Args:
        columns: the columns; the last one is not right-justified.
        beginnings: rows without the last column, as wide as the rows to come. In a row with a wider text, the texts
            after it move to the right.
    """

    def __init__(self, columns: Sequence[Column], beginnings: Iterable[Sequence[str]]) -> None:
        self._columns = columns
        self._widths = [cell_len(column.name) for column in columns]
        for row in beginnings:
            for at, text in enumerate(row):
                self._widths[at] = max(self._widths[at], cell_len(text))
        self._console = console()
        self._width = self._console.width if has_width(self._console.file) else None
        least = _width([*self._widths[:-1], _NARROWEST["cut"]])
        self._is_narrow = self._width is not None and least > self._width

    def write_header(self) -> None:
        """Write the names of the columns, unless each row has them."""
        if self._is_narrow:
            return
        header = _lines(self._columns, [], self._widths)
        if self._width is not None:
            for line in header.renderables:
                if isinstance(line, Text):
                    line.truncate(self._width, overflow="ellipsis")
        show(header, self._console)

    def write(self, row: Sequence[str]) -> None:
        """Write a row of printable text, without flushing."""
        if self._is_narrow:
            show(Group(_blocks(self._columns, [row]), ""), self._console)
            return
        cells: list[str] = []
        for text, column, width in zip(row, self._columns, self._widths, strict=True):
            blanks = _blanks(text, width)
            cells.append(blanks + text if column.justify == "right" else text + blanks)
        line = Text((" " * _GAP_COLUMNS).join(cells).rstrip())
        if self._width is not None:
            line.truncate(self._width, overflow="ellipsis")
        self._console.file.write(line.plain + "\n")


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP_COLUMNS * (len(widths) - 1)


def _parted(
    columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], naturals: Sequence[int], width: int
) -> tuple[list[int], list[int]]:
    """Return the columns that stay side by side, and the fewest columns that must go below to make them fit.

    A column without any text is removed first and is in neither list, as it would need no line below.
    """
    beside = list(range(len(columns)))
    movable = [at for at in beside if columns[at].shrinks == "below"]
    empty = [at for at in movable if not any(str(row[at]) for row in rows)]
    below: list[int] = []
    while movable and (excess := _width([naturals[at] for at in beside]) - width) > 0:
        enough = [at for at in movable if naturals[at] + _GAP_COLUMNS >= excess]
        if empty:
            moved = empty.pop()
        else:
            moved = min(enough, key=naturals.__getitem__) if enough else max(movable, key=naturals.__getitem__)
            below.append(moved)
        movable.remove(moved)
        beside.remove(moved)
    return beside, sorted(below)


def _narrowed(columns: Sequence[Column], naturals: Sequence[int], width: int) -> list[int] | None:
    """Return widths with which the columns fit side by side, or None if there are none."""
    widths = [
        min(natural, _NARROWEST.get(column.shrinks, natural)) for column, natural in zip(columns, naturals, strict=True)
    ]
    left = width - _width(widths)
    if left < 0:
        return None
    for at, natural in enumerate(naturals):
        more = min(natural - widths[at], left)
        widths[at] += more
        left -= more
    return widths


def _grid(
    columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], widths: Sequence[int], *, has_header: bool = False
) -> Table:
    made = Table(box=None, padding=(0, _GAP_COLUMNS, 0, 0), pad_edge=False, header_style="bold", show_header=has_header)
    for column, column_width in zip(columns, widths, strict=True):
        made.add_column(column.name, justify=column.justify, width=column_width, overflow="fold")
    for row in rows:
        made.add_row(*[_cell(text, column) for text, column in zip(row, columns, strict=True)])
    return made


def _labelled(labels: Sequence[str], texts: Sequence[str | Text], label_width: int) -> Table:
    """Return a line for each non-empty text, all aligned to the same column."""
    made = Table.grid(padding=(0, _GAP_COLUMNS, 0, 0))
    made.add_column(style="bold", width=label_width)
    made.add_column(overflow="fold")
    for label, text in zip(labels, texts, strict=True):
        if str(text):
            made.add_row(label, text)
    return made


def _lines(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], naturals: Sequence[int]) -> Group:
    lines: list[Text] = []
    for row in ([Text(column.name, "bold") for column in columns], *rows):
        line = Text()
        for cell, column, natural in zip(row, columns, naturals, strict=True):
            blanks = _blanks(str(cell), natural)
            line.append(blanks if column.justify == "right" else "").append_text(_text(cell))
            line.append((blanks if column.justify == "left" else "") + " " * _GAP_COLUMNS)
        line.rstrip()
        lines.append(line)
    return Group(*lines)


def _blanks(text: str, width: int) -> str:
    # Limited, so that one text of megabytes does not pad every other line to its length.
    return " " * (min(width, CELL_CHARS_MAX) - cell_len(text))


def _blocks(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> Table:
    made = Table.grid(padding=(0, _GAP_COLUMNS, 0, 0))
    made.add_column(style="bold", overflow="fold")
    made.add_column(overflow="fold")
    for number, row in enumerate(rows):
        if number:
            made.add_row()
        for column, text in zip(columns, row, strict=True):
            if column.shrinks != "below" or str(text):
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
