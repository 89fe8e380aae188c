"""`inmem delete`: deletes runs with all their contents."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

import inmem
from inmem.amounts import counted
from inmem.cli.contents import contents_in_words
from inmem.cli.errors import NO, NoError, hint
from inmem.cli.examples import example
from inmem.cli.output import is_terminal, print_json
from inmem.cli.progress import progress
from inmem.cli.reading import database_argument, json_option, open_for_reading, whole_runs_argument
from inmem.shown_name import plain_name

if TYPE_CHECKING:
    from inmem import Transaction


@click.command(epilog=example("inmem delete demo/harbour.db lamp-controller/0000-2ac3ac90 --yes"))
@database_argument
@whole_runs_argument
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def delete(*, database: str, runs: tuple[str, ...], yes: bool, as_json_output: bool) -> None:
    """Delete runs and everything in them.

    RUN must be the full name of a run. On a terminal, the command shows what it will delete and asks for confirmation;
    elsewhere, pass --yes. All runs are deleted in one commit, or none. Deletion cannot be undone: export the runs
    first if you may need them again.

    Put -- before a name that begins with a dash, after all options.
    """
    runs = tuple(dict.fromkeys(runs))
    if not yes:
        with open_for_reading(database) as db, db.begin("delete") as txn:
            found = [f"{plain_name(run_id)}: {_contents(txn, database, run_id)}" for run_id in runs]
        if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
            raise click.UsageError("not a terminal: pass --yes to delete without asking")
        click.echo("\n".join(found), err=True)
        if not _is_confirmed(f"Delete {counted(len(runs), 'run')}?"):
            click.echo("nothing was deleted", err=True)
            raise click.exceptions.Exit(NO)
    with progress("deleting"), inmem.open(database, create=False) as db:
        db.transaction("delete", lambda txn: _delete(txn, database, runs))
    if as_json_output:
        print_json([*runs])
    else:
        click.echo("\n".join([f"{plain_name(run_id)}: deleted" for run_id in runs]))


def _is_confirmed(question: str) -> bool:
    """Ask a question on the terminal; an input that ends without an answer (Ctrl-D) is a no."""
    try:
        return click.confirm(question, err=True)
    except click.Abort as abort:
        # Click raises the same for Ctrl-C.
        if not isinstance(abort.__context__, EOFError):
            raise
        # The cursor is still behind the question.
        click.echo(err=True)
        return False


def _contents(txn: Transaction, database: str, run_id: str) -> str:
    _expect(txn, database, run_id)
    contents = txn.on(run_id).contents
    registered = txn.runs.get_run(run_id)
    held = contents_in_words(contents.counts(), contents.deleted_cells())
    return f"{'unregistered' if registered is None else registered.status}, {held}"


def _delete(txn: Transaction, database: str, runs: tuple[str, ...]) -> None:
    for run_id in runs:
        _expect(txn, database, run_id)
        if txn.runs.get_run(run_id) is None:
            # Only a registered run can be deleted as a whole.
            txn.runs.create_run(run_id)
        txn.runs.delete_run(run_id)


def _expect(txn: Transaction, database: str, run_id: str) -> None:
    if txn.on(run_id).contents.is_empty():
        raise NoError(f"no run is named exactly {run_id!r}{hint('runs', database)}")
