"""`inmem demo`: a demonstration on bundled transcripts."""

from __future__ import annotations

import click

from inmem.cli.errors import NO
from inmem.cli.examples import example
from inmem.cli.output import console
from inmem.demo.story import show_demo


@click.command(epilog=example("inmem demo --keep demo && inmem runs demo/harbour.db"))
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(path_type=str, file_okay=False),
    help="Keep the database and the transcripts in DIR.",
)
def demo(keep: str | None) -> None:
    """Kill a recording process twice without losing anything.

    Several agents record bundled conversations at the same time. The recording process is killed with SIGKILL midway,
    twice. At the end, the database is compared with the transcripts.
    """
    if keep == "":
        raise click.UsageError("the path is empty")
    if not show_demo(console(), keep):
        raise click.exceptions.Exit(NO)
