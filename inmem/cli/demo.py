"""`inmem demo`: the product, shown on transcripts of its own."""

from __future__ import annotations

import click

from inmem.cli.errors import NO
from inmem.cli.output import console
from inmem.demo.story import show_demo


@click.command(epilog="Example: inmem demo --keep /tmp/inmem-demo && inmem trace /tmp/inmem-demo/harbour.db lamp")
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(path_type=str),
    help="Put the database into this folder, to stay.",
)
def demo(keep: str | None) -> None:
    """Record conversations, kill the recording twice, and show that nothing is lost and nothing is there twice."""
    if not show_demo(console(), keep):
        raise click.exceptions.Exit(NO)
