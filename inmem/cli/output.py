"""Showing stored values to people and to programs.

In neither text nor JSON can anything move the cursor or change colours. json_values.py says how JSON holds what it has
no form for.
"""

from __future__ import annotations

import codecs
import json
import shutil
import sys
import unicodedata
from typing import IO, TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from inmem.json_values import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from rich.console import RenderableType

CELL_CHARS_MAX: Final = 500
"""A value in a table or tree on a terminal: more than any is wide."""

_WIDTH_MIN: Final = 20
"""Below it there is nothing to be read."""

_WIDTH: Final = "inmem.cli.output.width"
"""Where the context of a command holds what --width asks for."""


def is_terminal(stream: IO[str]) -> bool:
    """Return whether somebody is looking, on something of some width."""
    return stream.isatty()


def console(*, stderr: bool = False) -> Console:
    """Return a console that writes what it is given, without markup, in colour on a terminal only.

    NO_COLOR and FORCE_COLOR are heeded as rich does. COLUMNS is the width of a terminal: into a pipe, lines are as long
    as they come.
    """
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if (asked := _width_asked()) is not None and not stderr:
        made.width = asked
    elif not is_terminal(made.file):
        made.width = sys.maxsize
    elif not made.width:
        # COLUMNS=0, which says nothing.
        made.width = shutil.get_terminal_size().columns
    return made


def has_width(stream: IO[str]) -> bool:
    """Return whether what is written is to fit a width: that of a terminal, or the one that --width asks for."""
    return is_terminal(stream) or _width_asked() is not None


def _width_asked() -> int | None:
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(_WIDTH)


def _ask_for_width(context: click.Context, _parameter: click.Parameter, width: int | None) -> None:
    context.meta[_WIDTH] = width


width_option = click.option(
    "--width",
    type=click.IntRange(min=_WIDTH_MIN),
    metavar="N",
    expose_value=False,
    callback=_ask_for_width,
    help="Cut and fold as on a terminal of N columns.",
)


def show(what: RenderableType, target: Console | None = None) -> None:
    """Print a table or tree on the console; into a pipe whole, and without the blanks that fill its lines."""
    target = target or console()
    if is_terminal(target.file):
        target.print(what)
        return
    with target.capture() as captured:
        target.print(what, soft_wrap=not has_width(target.file))
    if lines := captured.get().splitlines():
        # At once, as each echo is flushed. Whether there are colours was the console's decision.
        click.echo("\n".join([line.rstrip() for line in lines]), file=target.file, color=True)


def say_none(what: str) -> None:
    """Say on stderr that there is nothing to list, and why: headings with nothing below leave that open."""
    click.echo(printable(what), err=True)


def print_json(value: Any) -> None:
    """Print something that JSON can hold as one JSON document."""
    click.echo(_document(value))


def print_json_line(value: Any) -> None:
    """Write something that JSON can hold as one line, which the output may hold back."""
    sys.stdout.write(_json(value) + "\n")


def print_json_list(items: Iterable[Any]) -> None:
    """Print what JSON can hold as one JSON document, a list of them all: the same as `print_json`, one at a time."""
    before = "[\n  "
    for item in items:
        # Within strings line breaks are escaped: those that there are begin lines of the document.
        sys.stdout.write(before + _document(item).replace("\n", "\n  "))
        before = ",\n  "
    click.echo("[]" if before[0] == "[" else "\n]")


def _document(value: Any) -> str:
    return _json(value, indent=2)


def _json(value: Any, indent: int | None = None) -> str:
    # In any encoding but UTF-8 the stream would write a character that it does not have as an escape of Python's.
    text = json.dumps(value, ensure_ascii=not _takes_any_character(sys.stdout), indent=indent, allow_nan=False)
    if not text.replace("\n", "").isprintable():
        # What is not to be seen stands within strings, where JSON has an escape for it.
        text = "".join([char if char == "\n" or _is_visible(char) else json.dumps(char)[1:-1] for char in text])
    return text


def _takes_any_character(stream: TextIO) -> bool:
    # What has no encoding holds text.
    return not stream.encoding or codecs.lookup(stream.encoding).name == "utf-8"


def as_text(value: Any) -> str:
    """Return a stored value as JSON on one line, which may still hold characters that are not to be seen."""
    return json.dumps(to_json(value), ensure_ascii=False)


def one_line(value: Any, chars_max: int = CELL_CHARS_MAX) -> str:
    """Return a stored value on one line: text as it is, all else as JSON.

    A terminal, or what is to be as wide as one, gets at most `chars_max` of it.
    """
    text = value if isinstance(value, str) else as_text(value)
    if len(text) > chars_max and has_width(sys.stdout):
        text = text[: chars_max - 1] + "…"
    return printable(text)


def printable(text: str) -> str:
    """Return the text with every character that is not to be seen replaced by its escape."""
    if text.isprintable():
        return text
    return "".join([char if _is_visible(char) else char.encode("unicode_escape").decode() for char in text])


def _is_visible(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs"
