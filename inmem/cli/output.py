"""Output of stored values, for people and for programs.

Stored values can neither move the cursor nor change colours, whether printed as text or as JSON. json_values.py
describes how values that JSON cannot express are written.
"""

from __future__ import annotations

import codecs
import json
import shutil
import sys
from typing import IO, TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from inmem.invisible import printable, printable_json
from inmem.json_values import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from rich.console import RenderableType

CELL_CHARS_MAX: Final = 500
"""Characters shown of a value in a table or tree on a terminal: wider than any terminal."""

_WIDTH_MIN: Final = 20
"""Narrower output is unreadable."""

_WIDTH: Final = "inmem.cli.output.width"
"""The key in a command's context under which the value of --width is stored."""


def is_terminal(stream: IO[str]) -> bool:
    """Return whether the stream is a terminal."""
    return stream.isatty()


def console(*, stderr: bool = False) -> Console:
    """Return a console that writes text without interpreting markup, in colour on a terminal only.

    NO_COLOR and FORCE_COLOR work as in rich. COLUMNS sets the width of a terminal; lines in a pipe are never limited by
    it.
    """
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if (asked := _width_asked()) is not None and not stderr:
        made.width = asked
    elif not is_terminal(made.file):
        made.width = sys.maxsize
    elif not made.width:
        # COLUMNS=0 means that the width is unknown.
        made.width = shutil.get_terminal_size().columns
    return made


def has_width(stream: IO[str]) -> bool:
    """Return whether output must fit a width: that of a terminal, or the value of --width."""
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
    help="Format for a terminal N columns wide.",
)


def show(what: RenderableType, target: Console | None = None) -> None:
    """Print a table or tree on the console; into a pipe uncut and without trailing spaces."""
    target = target or console()
    if is_terminal(target.file):
        target.print(what)
        return
    with target.capture() as captured:
        target.print(what, soft_wrap=not has_width(target.file))
    if lines := captured.get().splitlines():
        # In one call, as each echo is flushed. `color=True` keeps the colours that the console has chosen, if any.
        click.echo("\n".join([line.rstrip() for line in lines]), file=target.file, color=True)


def say_none(what: str) -> None:
    """Say on stderr that there is nothing to list, and why: headings with nothing below leave that open."""
    click.echo(printable(what), err=True)


def print_json(value: Any) -> None:
    """Print a JSON-compatible value as one JSON document."""
    click.echo(_document(value))


def print_json_line(value: Any) -> None:
    """Write a JSON-compatible value as one line, without flushing."""
    sys.stdout.write(_json(value) + "\n")


def print_json_list(items: Iterable[Any]) -> None:
    """Print JSON-compatible values as one JSON list: the same text as `print_json`, but one item at a time."""
    before = "[\n  "
    for item in items:
        # Line breaks within strings are escaped, so every line break begins a line of the document.
        sys.stdout.write(before + _document(item).replace("\n", "\n  "))
        before = ",\n  "
    click.echo("[]" if before[0] == "[" else "\n]")


def _document(value: Any) -> str:
    return _json(value, indent=2)


def _json(value: Any, indent: int | None = None) -> str:
    # In an encoding other than UTF-8, the stream would write missing characters as Python escapes, not JSON escapes.
    ensure_ascii = not _takes_any_character(sys.stdout)
    return printable_json(json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, allow_nan=False))


def _takes_any_character(stream: TextIO) -> bool:
    # A stream without an encoding holds text.
    return not stream.encoding or codecs.lookup(stream.encoding).name == "utf-8"


def as_text(value: Any) -> str:
    """Return a stored value as JSON on one line, which may still contain invisible characters."""
    return json.dumps(to_json(value), ensure_ascii=False)


def one_line(value: Any, chars_max: int = CELL_CHARS_MAX) -> str:
    """Return a stored value on one line: a str as it is, any other value as JSON.

    On a terminal, or with --width, it is cut to `chars_max` characters.
    """
    text = value if isinstance(value, str) else as_text(value)
    if len(text) > chars_max and has_width(sys.stdout):
        text = text[: chars_max - 1] + "…"
    return printable(text)
