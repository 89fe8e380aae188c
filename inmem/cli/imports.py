"""`inmem import` and `verify-export`: read the files that `inmem export` writes."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import click

import inmem
from inmem import FormatVersionError, InmemError, Limits, RunExistsError, RunFileError, UsageError
from inmem.actors.options import MEMORY
from inmem.cli.errors import FINE, WRONG_USAGE, say_error, to_try, told
from inmem.cli.examples import example
from inmem.cli.output import is_terminal, print_json
from inmem.cli.progress import progress
from inmem.cli.reading import into_option, json_option
from inmem.cli.run_files import STREAM, contents_of
from inmem.engine.limits import GREATEST
from inmem.invisible import printable
from inmem.json_values import result_to_json
from inmem.primitives.run_contents import CellEntry
from inmem.run_file import read_run
from inmem.shown_name import plain_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem import Database
    from inmem.run_file import FoundRun

_NO_LIMITS: Final = Limits(**GREATEST)
"""An exported run is valid whatever the limits of its store were; only an importing store applies its own limits."""

_files_argument = click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    # Existence is not checked here, as the reader reports missing files one at a time.
    type=click.Path(allow_dash=True, path_type=str),
)


class _Files:
    """Files that are read one after the other, continuing after a file with errors.

    Attributes:
        code: the exit code, given the files refused so far.
    """

    def __init__(self, files: tuple[str, ...]) -> None:
        self._files = files
        self.code = FINE

    def read(self, doing: str) -> Iterator[tuple[str, FoundRun]]:
        """Yield each intact file with the run found in it; refuse the others."""
        for file in self._files:
            is_stream = file == STREAM
            try:
                with progress(doing, is_typed=is_stream and is_terminal(sys.stdin)) as on_progress:
                    found = read_run(sys.stdin.buffer if is_stream else file, on_progress)
            except (RunFileError, FormatVersionError, OSError) as error:
                self.refuse(error)
                continue
            yield file, found

    def put(self, doing: str, file: str, found: FoundRun, db: Database, database: str) -> bool:
        """Put the run found in a file into `db`, which the user calls `database`; return False if it is refused."""
        try:
            with progress(doing):
                found.put_into(db)
        except RunExistsError as error:
            advice = to_try("delete", database, error.name)
            way_on = "; import it into another database, or delete it first"
            self.refuse(error, f"{file}: ", f"{way_on}: {advice}" if advice else way_on)
        except UsageError as error:
            self.refuse(error, f"{file}: ")
        except RunFileError as error:
            self.refuse(error)
        else:
            return True
        return False

    def refuse(self, error: InmemError | OSError, before: str = "", behind: str = "") -> None:
        """Print the error of a file, between the texts `before` and `behind`, and note the exit code."""
        message, code = told(error)
        say_error(before + message + behind)
        # Like a database that does not exist, and unlike a file that was changed.
        is_no_file = isinstance(error, FileNotFoundError | IsADirectoryError)
        self.code = max(self.code, WRONG_USAGE if is_no_file else code)

    def end(self) -> None:
        """End the command with its exit code."""
        if self.code != FINE:
            raise click.exceptions.Exit(self.code)


@click.command("import", epilog=example("inmem export demo/harbour.db lamp | inmem import - --into copy.db"))
@_files_argument
@into_option
@json_option
def import_(*, files: tuple[str, ...], database: str, as_json_output: bool) -> None:
    """Import runs from files, after verifying every line.

    FILE is a file written by `inmem export`, or - for standard input. Every line is checked against its hash and every
    event against its chain. A run is imported in one commit, or not at all. If a file is refused, the others are still
    imported.
    """
    given = _Files(files)
    imported: list[dict[str, Any]] = []
    with ExitStack() as at_the_end:
        db: Database | None = None
        for file, found in given.read("importing"):
            # Opened only after a file was read, so that bad files leave no empty database behind.
            db = db or at_the_end.enter_context(inmem.open(database))
            if not given.put("storing", file, found, db, database):
                continue
            imported.append(result_to_json(found.export))
            if not as_json_output:
                click.echo(_told(found))
    if as_json_output:
        print_json(imported)
    given.end()


@click.command("verify-export", epilog=example("inmem export demo/harbour.db lamp | inmem verify-export -"))
@_files_argument
@json_option
def verify_export(*, files: tuple[str, ...], as_json_output: bool) -> None:
    """Verify exported runs without importing them.

    FILE is a file written by `inmem export`, or - for standard input. It gets the same checks as in `inmem import`. The
    digest that is printed vouches for the whole file: save it elsewhere to detect later whether the file was rewritten.

    The exit code is 1 if a file is damaged or was changed, and 2 if it is missing or not an exported run.
    """
    given = _Files(files)
    sound: list[dict[str, Any]] = []
    for file, found in given.read("verifying"):
        # Importing checks the rest: chains, parents, and the order of items.
        with inmem.open(MEMORY, limits=_NO_LIMITS) as db:
            if not given.put("verifying", file, found, db, MEMORY):
                continue
        sound.append({"file": file} | result_to_json(found.export))
        if not as_json_output:
            click.echo(f"{printable(file)}: {_told(found)}")
            click.echo(f"  digest {found.export.digest}")
    if as_json_output:
        print_json(sound)
    given.end()


def _told(found: FoundRun) -> str:
    deleted = sum(isinstance(item, CellEntry) and item.is_deleted for _, item in found.items)
    return f"{plain_name(found.export.run_id)}: {contents_of(found.export, deleted)}"
