"""The `inmem` command with all its subcommands."""

from __future__ import annotations

import click

import inmem
from inmem.cli.completion import completion
from inmem.cli.delete import delete
from inmem.cli.demo import demo
from inmem.cli.errors import WRONG_USAGE, Application
from inmem.cli.events import events
from inmem.cli.imports import import_, verify_export
from inmem.cli.record import record
from inmem.cli.run_files import export
from inmem.cli.runs import cells, get, runs
from inmem.cli.salvage import salvage
from inmem.cli.store import checkpoint, stat
from inmem.cli.traces import trace
from inmem.cli.ui import ui
from inmem.cli.verify import verify


@click.group(
    cls=Application,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Try it: `inmem demo --keep demo` creates demo/harbour.db, which the examples of all commands use.",
)
@click.version_option(inmem.__version__, "-V", "--version", prog_name="inmem")
@click.pass_context
def app(context: click.Context) -> None:
    """Keep and inspect agent runs in a transactional store.

    DB is the folder of a database. RUN is the name of a run, or a prefix that no other run shares. Reading never blocks
    or disturbs a process that is writing. Put -- before a name that begins with a dash, after all options.

    Exit codes: 0 success, 1 failure (not found, damaged), 2 usage error.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(WRONG_USAGE)


app.add_section(
    "Inspect runs",
    (
        runs,
        events,
        trace,
        cells,
        get,
        ui,
    ),
)
app.add_section(
    "Maintain a database",
    (
        stat,
        verify,
        checkpoint,
        salvage,
        delete,
    ),
)
app.add_section(
    "Record, export and import runs",
    (
        record,
        export,
        import_,
        verify_export,
    ),
)
app.add_section(
    "Get started",
    (
        demo,
        completion,
    ),
)
