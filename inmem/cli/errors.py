"""How a command ends when it cannot do what was asked: one line, and an exit code."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from inmem import (
    CorruptionError,
    DatabaseLockedError,
    DatabaseNotFoundError,
    FormatVersionError,
    InmemError,
    UsageError,
)
from inmem.cli.output import printable
from inmem.cli.streams import drop_unwritten, prepare_streams, takes_what_is_written

if TYPE_CHECKING:
    from collections.abc import Generator

FINE: Final = 0
NO: Final = 1
"""The answer is no: something is damaged, was not found or could not be done."""
WRONG_USAGE: Final = 2
"""What was asked makes no sense, as where a database or an exported run is expected and something else is named."""
INTERRUPTED: Final = 130
"""What shells report of a command that Ctrl-C ended."""
UNREAD: Final = 141
"""What shells report of a command that SIGPIPE ended: whoever read the output has seen enough."""

_WHEN_LOCKED: Final = "try again when it is closed there; commands that only read need not wait"


_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_NO_SUCH_COMMAND: Final = "No such command "
"""How click begins; only its newer releases have a class for it."""


class NoError(click.ClickException):
    """The answer is no."""

    exit_code = NO


typed_paths: list[str] = []
"""The databases that the command line names, as they were typed."""


def as_typed(message: str) -> str:
    """Return a message in which databases are called what they were called: the store knows where they are."""
    for path in typed_paths:
        if path and not Path(path).is_absolute():
            with suppress(OSError):
                message = message.replace(str(Path.cwd()) + os.sep + path, path)
    return message


def say_error(message: str) -> None:
    """Write the line that tells of an error."""
    # Where that cannot be written either, the exit code is left to tell of it.
    with suppress(OSError):
        click.echo(f"inmem: error: {printable(message)}", err=True)


def when_damaged(database: str) -> str:
    """Return what can be done about a database that cannot be opened."""
    return f"restore a backup, or: inmem salvage {shlex.quote(database)} --into NEW"


class Application(click.Group):
    """A group of commands in sections, whose errors are one line each, whoever raised them."""

    def __init__(self, *args: Any, **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.sections: dict[str, tuple[click.Command, ...]] = {}

    def add_section(self, title: str, commands: tuple[click.Command, ...]) -> None:
        """Add commands that are listed together."""
        self.sections[title] = commands
        for command in commands:
            self.add_command(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, each with the first sentence of its help."""
        del ctx
        names = max(len(name) for name in self.commands)
        room = formatter.width - names - 4
        listed = {command for commands in self.sections.values() for command in commands}
        others = tuple(command for command in self.commands.values() if command not in listed)
        for title, commands in {**self.sections, "More": others}.items():
            rows = [(f"{each.name:{names}}", each.get_short_help_str(room)) for each in commands]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the command line, which may show a help."""
        with _unread_is_no_answer():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        with _unread_is_no_answer():
            return super().invoke(ctx)

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run a command and exit: 0 fine, 1 the answer is no, 2 wrong usage."""
        extra |= {"standalone_mode": False, "prog_name": "inmem"}
        typed_paths.clear()
        prepare_streams()
        code = self._run(args, extra)
        drop_unwritten()
        sys.exit(code)

    def _run(self, args: tuple[Any, ...], extra: dict[str, Any]) -> int:
        try:
            code: Any = super().main(*args, **extra)
            sys.stdout.flush()
        except click.Abort:
            return INTERRUPTED
        except BrokenPipeError:
            return UNREAD
        except (click.ClickException, InmemError, OSError) as error:
            message, exit_code = told(error)
            say_error(as_typed(message))
            return exit_code
        return code if type(code) is int else FINE


@contextmanager
def _unread_is_no_answer() -> Generator[None]:
    """End with the code that says that nobody read the output; click itself would exit with 1, which means "no"."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(UNREAD) from None


def told(error: click.ClickException | InmemError | OSError) -> tuple[str, int]:
    """Return the line that tells of an error, and the exit code that it means."""
    match error:
        case click.ClickException():
            return _told(error), error.exit_code
        case UsageError() | DatabaseNotFoundError() | FormatVersionError():
            return str(error), WRONG_USAGE
        case DatabaseLockedError():
            # Without its advice, which is for programs.
            return f"{error.path} is in use by {error.owner}; {_WHEN_LOCKED}", NO
        case CorruptionError():
            return f"{error}; {when_damaged(str(Path(error.path).parent))}", NO
        case InmemError():
            return str(error), NO
        case _:
            where = error.filename
            # A database and a file that is exported to are named. Of a long text, nothing is left that could be tried.
            if where is None and (error.errno in _FULL or not takes_what_is_written(sys.stdout)):
                where = "the standard output"
            return str(error) if where is None else f"{where}: {error.strerror}", NO


def _told(error: click.ClickException) -> str:
    """Return what click has to say, and where there is more to read."""
    message = error.format_message()
    is_lost = isinstance(error, (click.MissingParameter, click.NoSuchOption)) or message.startswith(_NO_SUCH_COMMAND)
    if not is_lost or not isinstance(error, click.UsageError) or error.ctx is None:
        return message
    if isinstance(error, click.NoSuchOption) and _is_of_a_command(error.option_name, error.ctx.command):
        option = error.option_name
        return f"No such option of inmem itself: {option!r}; it goes after the command: inmem COMMAND {option}"
    # Where there is a choice, click lists it on lines of their own.
    message = " ".join(message.split())
    return f"{message}{'' if message.endswith(('.', '?', '!', ')')) else '.'} Try: {error.ctx.command_path} --help"


def _is_of_a_command(option: str, group: click.Command) -> bool:
    """Return whether any command of a group has such an option."""
    commands = group.commands.values() if isinstance(group, click.Group) else ()
    return any(option in parameter.opts for command in commands for parameter in command.params)
