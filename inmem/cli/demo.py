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
    help="Put the database and the transcripts into this folder, to stay.",
)
def demo(keep: str | None) -> None:
    """Kill a recording of conversations twice, and lose nothing.

    Conversations of the package's own are recorded by several agents at once. The recording process is killed with
    SIGKILL in the middle, twice; then the database is compared with the transcripts.
    """
    if not show_demo(console(), keep):
        raise click.exceptions.Exit(NO)
