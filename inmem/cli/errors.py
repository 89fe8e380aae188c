"""Failure of commands: one line on stderr and an exit code."""

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
from inmem.cli.streams import drop_unwritten, prepare_streams, takes_what_is_written
from inmem.invisible import printable

if TYPE_CHECKING:
    from collections.abc import Generator

FINE: Final = 0
NO: Final = 1
"""The answer is no: something is damaged, was not found or could not be done."""
WRONG_USAGE: Final = 2
"""The command line makes no sense, for instance because it names a file that is missing or no exported run."""
INTERRUPTED: Final = 130
"""The exit code that shells report for a command ended by Ctrl-C."""
UNREAD: Final = 141
"""The exit code that shells report for a command ended by SIGPIPE: the reader of the output has stopped reading."""

_WHEN_LOCKED: Final = "try again when it has been closed there; commands that only read need not wait"


_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_NO_SUCH_COMMAND: Final = "No such command "
"""The beginning of click's message; only newer releases have an exception class for it."""


class NoError(click.ClickException):
    """The answer is no."""

    exit_code = NO


typed_paths: list[str] = []
"""The databases named on the command line, as typed."""


def as_typed(message: str) -> str:
    """Return a message with the databases' paths as typed, where the store's messages have absolute paths."""
    for path in typed_paths:
        if path and not Path(path).is_absolute():
            with suppress(OSError):
                message = message.replace(str(Path.cwd()) + os.sep + path, path)
    return message


def to_try(command: str, *names: str, options: str = "") -> str:
    """Return the command line of a command, to be pasted into a shell.

    It is empty if a terminal cannot show the names as they are: with their escapes, it could mean another run.
    """
    words = shlex.join(names)
    if printable(words) != words:
        return ""
    # A name that begins with a dash would be parsed as an option.
    arguments = f"{options} -- {words}" if any(name.startswith("-") for name in names) else f"{words} {options}"
    return f"inmem {command} {arguments.strip()}"


def hint(command: str, *names: str) -> str:
    """Return the end of an error message that advises a command, as `to_try` does; it may be empty."""
    advice = to_try(command, *names)
    return f". Try: {advice}" if advice else ""


def say_error(message: str) -> None:
    """Write an error message as one line."""
    # If stderr cannot be written either, only the exit code reports the error.
    with suppress(OSError):
        click.echo(f"inmem: error: {printable(message)}", err=True)


def when_damaged(database: str) -> str:
    """Return advice for a database that cannot be opened."""
    advice = to_try("salvage", as_typed(database), options="--into NEW")
    return "restore a backup" + (f", or: {advice}" if advice else "")


class Application(click.Group):
    """A group of commands in sections. Every error is reported as one line, whatever its source."""

    def __init__(self, *args: Any, **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.sections: dict[str, tuple[click.Command, ...]] = {}

    def add_section(self, title: str, commands: tuple[click.Command, ...]) -> None:
        """Add commands that are listed together under a title."""
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
        """Parse the command line, which may print a help text."""
        with _unread_is_no_answer():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the named command."""
        with _unread_is_no_answer():
            return super().invoke(ctx)

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run a command and exit: 0 success, 1 failure, 2 usage error."""
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
    """Turn a broken pipe into the exit code `UNREAD`; click itself would exit with 1, which means "no"."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(UNREAD) from None


def told(error: click.ClickException | InmemError | OSError) -> tuple[str, int]:
    """Return the message and the exit code of an error."""
    match error:
        case click.ClickException():
            return _told(error), error.exit_code
        case UsageError() | DatabaseNotFoundError() | FormatVersionError():
            return str(error), WRONG_USAGE
        case DatabaseLockedError():
            # The error's own message has advice for programs, so it is replaced.
            return f"{error.path} is in use by {error.owner}; {_WHEN_LOCKED}", NO
        case CorruptionError():
            return f"{error}; {when_damaged(str(Path(error.path).parent))}", NO
        case InmemError():
            return str(error), NO
        case _:
            where = error.filename
            # Errors of databases and export files name the file. An unnamed one is of stdout if the disk is full, or if
            # flushing stdout still fails; after a failed long write no buffered text is left, so a flush can succeed.
            if where is None and (error.errno in _FULL or not takes_what_is_written(sys.stdout)):
                where = "the standard output"
            return str(error) if where is None else f"{where}: {error.strerror}", NO


def _told(error: click.ClickException) -> str:
    """Return click's message, with a hint to the help where useful."""
    message = error.format_message()
    is_lost = isinstance(error, (click.MissingParameter, click.NoSuchOption)) or message.startswith(_NO_SUCH_COMMAND)
    if not is_lost or not isinstance(error, click.UsageError) or error.ctx is None:
        return message
    if isinstance(error, click.NoSuchOption) and _is_of_a_command(error.option_name, error.ctx.command):
        option = error.option_name
        return f"No such option before a command: {option!r}. Put it after the command: inmem COMMAND {option}"
    # Click lists alternatives on lines of their own; join them.
    message = " ".join(message.split())
    return f"{message}{'' if message.endswith(('.', '?', '!', ')')) else '.'} Try: {error.ctx.command_path} --help"


def _is_of_a_command(option: str, group: click.Command) -> bool:
    """Return whether any command of a group has the option."""
    commands = group.commands.values() if isinstance(group, click.Group) else ()
    return any(option in parameter.opts for command in commands for parameter in command.params)
