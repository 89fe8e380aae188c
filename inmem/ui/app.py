"""The explorer's routes and their pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from inmem.ui.about_page import show_about
from inmem.ui.chain_page import show_chain
from inmem.ui.desk import Desk
from inmem.ui.events_page import show_event, show_events
from inmem.ui.runs_page import show_runs, show_unregistered
from inmem.ui.state_page import show_entry, show_state
from inmem.ui.traces_page import show_trace, show_traces
from inmem.ui.value_page import show_value

if TYPE_CHECKING:
    from starlette.responses import Response

    from inmem.ui.desk import Look
    from inmem.ui.jobs import Jobs
    from inmem.ui.source import Source

STATIC: Final = Path(__file__).parent / "static"


def show_version(look: Look) -> Response:
    """Return the newest readable version, and why newer versions cannot be read, if they cannot. O(1).

    The pages poll this twice a second for new commits.
    """
    look.desk.source.refresh()
    return JSONResponse({"version": look.database.version, "trouble": look.trouble})


PAGES: Final = {
    "": show_runs,
    "runs": show_runs,
    "unregistered": show_unregistered,
    "events": show_events,
    "event": show_event,
    "traces": show_traces,
    "trace": show_trace,
    "state": show_state,
    "entry": show_entry,
    "about": show_about,
    "chain": show_chain,
    "value": show_value,
    "version": show_version,
}


def make_app(source: Source, jobs: Jobs) -> Starlette:
    """Return the explorer's application, without the guard."""
    desk = Desk(source, jobs)
    routes = [Route(f"/{name}", desk.page(show), methods=["GET"]) for name, show in PAGES.items()]
    return Starlette(
        routes=[*routes, Mount("/static", StaticFiles(directory=STATIC))],
        exception_handlers={HTTPException: desk.refuse, Exception: desk.refuse},
    )
