"""Opening a database for reading, resolving the name of a run, and completing names in a shell."""

from __future__ import annotations

import string
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

import inmem
from inmem.actors.options import MEMORY
from inmem.cli.errors import NoError, as_typed, hint, typed_paths
from inmem.cli.progress import progress
from inmem.invisible import is_seen
from inmem.shown_name import plain_name

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from inmem import Database, Transaction

_NAMES_SHOWN_MAX: Final = 5

_COMPLETIONS_MAX: Final = 200
"""More than a user reads before typing another letter."""


class _DatabaseType(click.Path):
    """The folder of a database, which need not exist."""

    def __init__(self) -> None:
        super().__init__(path_type=str)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse a file, and a database in memory, which would not outlive the command."""
        if not value:
            self.fail("the path is empty; a database is a folder", param, ctx)
        if value == MEMORY:
            self.fail(f"{MEMORY} is not stored on disk; a database is a folder", param, ctx)
        if Path(value).is_file():
            self.fail(f"{value} is a file; a database is a folder", param, ctx)
        typed_paths.append(value)
        return super().convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell complete folders only."""
        del ctx, param
        return [CompletionItem(incomplete, type="dir")]


database_type = _DatabaseType()

_HARMLESS: Final = frozenset(string.ascii_letters + string.digits + "_@%+=:./-")
"""The ASCII characters without a meaning in any shell, nor in the scripts for completion."""

_SPECIAL_AT_FIRST: Final = ("", "-", "=")


@contextmanager
def open_for_reading(path: str) -> Generator[Database]:
    """Open the database as it is now, without disturbing a process that writes to it."""
    with progress("opening"):
        db = inmem.open(path, create=False, read_only=True)
    with db:
        yield db


def _completed(names: Callable[[Database, Transaction, str], list[str]]) -> Callable[..., list[str]]:
    """Return a completion function for the names that `names` finds in the database named on the command line."""

    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        given = _arguments_given(context)
        try:
            with (
                inmem.open(given["database"], create=False, read_only=True) as db,
                db.begin(given.get("run") or "completion") as txn,
            ):
                return [name for name in names(db, txn, incomplete) if _is_harmless(name)]
        except (inmem.InmemError, click.ClickException, OSError, KeyError):
            # No error can be shown while the user is typing.
            return []

    return complete


def _arguments_given(context: click.Context) -> dict[str, Any]:
    """Return the arguments before the word to be completed.

    If that word is the value of an option, click stops before it has assigned any argument to its parameter.
    """
    names = [each.name for each in context.command.params if isinstance(each, click.Argument) and each.name]
    return dict(zip(names, context.args, strict=False)) | {
        name: value for name, value in context.params.items() if value is not None
    }


def _is_harmless(name: str) -> bool:
    """Return whether a shell can show a name, and takes it for what it is.

    Bash inserts what it is offered without quotes. Agents choose the names of runs and keys, and a name such as
    ``$(reboot)`` would be run as a command.
    """
    return name[:1] not in _SPECIAL_AT_FIRST and all(
        char in _HARMLESS if char.isascii() else is_seen(char) for char in name
    )


def _runs_like(db: Database, txn: Transaction, incomplete: str) -> list[str]:
    return list(islice(_runs_that_begin(db, txn, incomplete), _COMPLETIONS_MAX))


def _keys_like(db: Database, txn: Transaction, incomplete: str) -> list[str]:
    return txn.on(find_run(db, txn, txn.run_id)).kv.list(incomplete, _COMPLETIONS_MAX)


database_argument = click.argument("database", metavar="DB", type=database_type)
run_argument = click.argument("run", metavar="RUN", shell_complete=_completed(_runs_like))
optional_run_argument = click.argument("run", metavar="[RUN]", required=False, shell_complete=_completed(_runs_like))
whole_runs_argument = click.argument(
    "runs", metavar="RUN...", nargs=-1, required=True, shell_complete=_completed(_runs_like)
)
key_argument = click.argument("key", metavar="[KEY]", required=False, shell_complete=_completed(_keys_like))
prefix_option = click.option(
    "--prefix", shell_complete=_completed(_keys_like), help="List only keys that begin with this text."
)
into_option = click.option(
    "--into",
    "database",
    metavar="DB",
    required=True,
    type=database_type,
    help="Database to write to; created if missing.",
)
json_option = click.option("--json", "as_json_output", is_flag=True, help="Print JSON instead of text.")


@contextmanager
def reading_run(path: str, name: str) -> Generator[Transaction]:
    """Open the database and begin a transaction in the run that `name` refers to: all reads see one snapshot."""
    with open_for_reading(path) as db, db.begin(resolve_run(db, name)) as txn:
        yield txn


def resolve_run(db: Database, name: str) -> str:
    """Return the id of the run that `name` refers to. See `find_run`."""
    with db.begin(name) as txn:
        return find_run(db, txn, name)


def find_run(db: Database, txn: Transaction, name: str) -> str:
    """Return the id of the run with the id `name`, or else of the only run whose id begins with it.

    Unregistered runs are found, too.
    """
    if not txn.on(name).contents.is_empty():
        return name
    found = list(_runs_that_begin(db, txn, name))
    if len(found) == 1:
        return found[0]
    if not found:
        raise NoError(f"no run matches {name!r}{hint('runs', as_typed(db.path))}")
    names = ", ".join(map(plain_name, found[:_NAMES_SHOWN_MAX])) + (", …" if len(found) > _NAMES_SHOWN_MAX else "")
    raise click.UsageError(f"{len(found)} runs begin with {name!r}: {names}")


def _runs_that_begin(db: Database, txn: Transaction, beginning: str) -> Iterator[str]:
    """Yield the runs whose ids begin with `beginning`: registered ones in order of creation, then the others."""
    for runs in (txn.runs.list_runs(include_archived=True), db.unregistered_runs()):
        yield from (run_id for run_id in runs if run_id.startswith(beginning))
