"""`inmem ui`: the run explorer."""

from __future__ import annotations

import webbrowser

import click

from inmem.cli.errors import WRONG_USAGE, say_error
from inmem.cli.reading import database_argument


@click.command(epilog="Example: inmem ui demo/harbour.db --open")
@database_argument
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Listen on port N; default: a free one."
)
@click.option("--open", "opens_browser", is_flag=True, help="Open the page in the browser.")
def ui(*, database: str, port: int, opens_browser: bool) -> None:
    """Serve a page on this machine that shows the runs of DB.

    Its address is printed. It holds a secret: whoever knows it can read all of DB while this runs. Nothing is
    written to DB; what its owner writes meanwhile is shown. Ctrl-C ends it.
    """
    try:
        from inmem.ui import serve  # noqa: PLC0415  an extra of its own: without it this is the place to say so
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in ("jinja2", "markupsafe", "starlette", "uvicorn"):
            raise
        say_error("the explorer needs jinja2, starlette and uvicorn: pip install '.[cli,ui]' in a clone of inmem")
        raise click.exceptions.Exit(WRONG_USAGE) from None

    def announce(url: str) -> None:
        click.echo(url)
        if opens_browser:
            webbrowser.open(url)

    serve(database, port=port, on_start=announce)
