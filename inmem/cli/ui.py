"""`inmem ui`: the run explorer."""

from __future__ import annotations

import html
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from inmem.cli.errors import WRONG_USAGE, say_error
from inmem.cli.reading import database_argument
from inmem.extras import UI_PACKAGES


@click.command(epilog="Example: inmem ui demo/harbour.db --open")
@database_argument
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Listen on port N (default: any free port)."
)
@click.option("--open", "opens_browser", is_flag=True, help="Open the page in a browser.")
def ui(*, database: str, port: int, opens_browser: bool) -> None:
    """Serve a local web page that shows the runs in DB.

    The command prints the address of the page. The address contains a secret: anyone who knows it can read all of DB
    while the server runs. It never writes to DB, and it shows what the owner of DB writes in the meantime. Stop it with
    Ctrl-C.
    """
    try:
        from inmem.ui import serve  # noqa: PLC0415  an extra of its own: without it this is the place to say so
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in UI_PACKAGES:
            raise
        say_error("the explorer needs jinja2, starlette and uvicorn: pip install '.[cli,ui]' in a clone of inmem")
        raise click.exceptions.Exit(WRONG_USAGE) from None

    with ExitStack() as at_the_end:

        def announce(url: str) -> None:
            click.echo(url)
            if opens_browser:
                # Kept until the end, as there is no way to know when the browser has read it.
                folder = at_the_end.enter_context(TemporaryDirectory(prefix="inmem-ui-"))
                webbrowser.open(_page_that_leads_to(url, Path(folder)))

        serve(database, port=port, on_start=announce)


def _page_that_leads_to(url: str, folder: Path) -> str:
    """Return the URL of a page in a private folder that redirects a browser to `url`.

    Every user of the machine can read a browser's command line in /proc, so it must not contain `url` itself.
    """
    page = folder / "open.html"
    page.touch(mode=0o600)
    address = html.escape(url)
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={address}">'
        f'<title>inmem</title><a href="{address}">The explorer</a>\n',
        encoding="utf-8",
    )
    return page.as_uri()
