"""All commands, put together."""

from __future__ import annotations

import click

import inmem
from inmem.cli.demo import demo
from inmem.cli.errors import WRONG_USAGE, Application
from inmem.cli.record import record
from inmem.cli.runs import cells, events, get, runs
from inmem.cli.store import checkpoint, stat, verify
from inmem.cli.traces import trace
from inmem.cli.ui import ui


@click.group(
    cls=Application,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: inmem demo",
)
@click.version_option(inmem.__version__, prog_name="inmem")
@click.pass_context
def app(context: click.Context) -> None:
    """A transactional store for agent runs: record transcripts, and look at what is in a database.

    DB is a database's folder, RUN the name of a run or an unambiguous beginning of it. Exit codes: 0 fine, 1 the
    answer is no (damaged, not found), 2 wrong usage.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(WRONG_USAGE)


for command in (demo, record, runs, events, trace, cells, get, stat, verify, checkpoint, ui):
    app.add_command(command)
