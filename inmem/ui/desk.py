"""The tools of every page: the database, the query parameters, and the templates."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

import inmem
from inmem import DatabaseClosedError, InmemError, NotFoundError, UsageError, times
from inmem.ui.source import PAGE_WAITS_S_MAX
from inmem.ui.values import name, one_line, plain_name, pretty, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from starlette.requests import Request
    from starlette.responses import Response

    from inmem import Database, Transaction
    from inmem.ui.jobs import Jobs
    from inmem.ui.source import Source

_NUMBER_MAX: Final = 2**63 - 1


class Desk:
    """The state shared by all pages of one explorer.

    Args:
        source: the source of the data.
        jobs: the background jobs.
    """

    def __init__(self, source: Source, jobs: Jobs) -> None:
        self.source = source
        self.jobs = jobs
        # Templates escape everything as text, except markup made by values.py.
        self._templates = Environment(
            loader=PackageLoader("inmem.ui"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        filters: dict[str, Callable[..., Any]] = self._templates.filters
        filters |= {
            "visible": visible,
            "name": name,
            "plain_name": plain_name,
            "one_line": one_line,
            "moment": times.moment,
            "iso": times.iso,
            "duration": times.duration,
            "thousands": "{:,}".format,
            "key": _key,
            "hex": _hex,
            "typed": _typed,
        }
        names: dict[str, Any] = self._templates.globals
        names |= {"link": link, "release": inmem.__version__}

    def page(self, show: Callable[[Look], Response]) -> Callable[[Request], Response]:
        """Return an endpoint that answers each request with the result of `show`."""

        def endpoint(request: Request) -> Response:
            try:
                return show(Look(self, request))
            except InmemError as error:
                raise HTTPException(_status_of(error), str(error)) from error

        return endpoint

    def render(self, template: str, facts: dict[str, Any], status: int = 200) -> HTMLResponse:
        """Return a page made from a template."""
        return HTMLResponse(self._templates.get_template(template).render(facts), status)

    def refuse(self, _: Request, error: Exception) -> Response:
        """Return the error page."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else "a bug of the explorer"
        return self.render("error.html", {"status": status, "detail": detail}, status)


class Look:
    """One request, with the tools to answer it.

    Args:
        desk: the explorer's shared state.
        request: the request.
    """

    def __init__(self, desk: Desk, request: Request) -> None:
        self.desk = desk
        self._query = request.query_params
        self._version: int | None = None

    def text(self, parameter: str) -> str | None:
        """Return a parameter of the URL, or None if it is missing or empty."""
        return self.given(parameter) or None

    def given(self, parameter: str) -> str | None:
        """Return a parameter of the URL, which may be empty, or None if it is missing.

        Forms send names in hexadecimal, as ``run.hex``: a browser would change line breaks and NUL in plain fields.
        """
        encoded = self._query.get(f"{parameter}.hex")
        if encoded is None:
            return self._query.get(parameter)
        try:
            return bytes.fromhex(encoded).decode()
        except ValueError:
            raise HTTPException(400, f"{parameter}.hex is not UTF-8 in hexadecimal") from None

    def texts(self, parameter: str) -> list[str]:
        """Return the values, which may be empty, of a parameter that may be given several times."""
        return self._query.getlist(parameter)

    def required(self, parameter: str) -> str:
        """Return a required parameter, which may be empty."""
        text = self.given(parameter)
        if text is None:
            raise HTTPException(400, f"the address lacks {parameter}=")
        return text

    def number(self, parameter: str) -> int | None:
        """Return a parameter that is a number of at least 0, or None if it is missing or empty."""
        text = self.text(parameter)
        if text is None:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > _NUMBER_MAX:
            raise HTTPException(400, f"{parameter} is not a number of at least 0")
        return int(text)

    @property
    def is_part(self) -> bool:
        """Whether the page's script requests only the inner part of the page."""
        return "part" in self._query

    @contextmanager
    def snapshot(self, run: str = "runs") -> Generator[Transaction]:
        """Provide a transaction on one snapshot, whose accessors refer to `run`."""
        self.desk.source.refresh(PAGE_WAITS_S_MAX)
        with self.database.begin(run) as txn:
            # The version shown on the page is the oldest one read.
            self._version = txn.start_version if self._version is None else min(self._version, txn.start_version)
            yield txn

    @property
    def database(self) -> Database:
        """The handle on the database."""
        return self.desk.source.database

    @property
    def trouble(self) -> str | None:
        """Why newer versions cannot be read, or None if they can."""
        trouble = self.desk.source.trouble
        return None if trouble is None else plain_name(trouble)

    def render(self, template: str, **facts: Any) -> HTMLResponse:
        """Return a page made from a template, with the database's path, the version shown, and why none is newer."""
        version = self.database.version if self._version is None else self._version
        known = {"path": self.database.path, "version": version, "trouble": self.trouble}
        return self.desk.render(template, {**known, **facts})


def link(page: str, **query: object) -> str:
    """Return the relative URL of a page, with every special character in the query escaped.

    It begins with the page's name, whatever the query holds. Parameters that are None are omitted.
    """
    return f"{page}?{urlencode({key: value for key, value in query.items() if value is not None}, doseq=True)}"


def shown_value(value: Any, all_of_it: str) -> dict[str, Any]:
    """Return a value for the template value.html: its HTML, and the URL of the whole value if the HTML is cut."""
    html, is_whole = pretty(value)
    return {"html": html, "all": None if is_whole else all_of_it}


def _key(text: str) -> str:
    """Return a name in a form valid in an HTML attribute, different for different names."""
    return quote(text, safe="")


def _hex(text: str) -> str:
    return text.encode().hex()


def _typed(text: str | None) -> str:
    """Return typed text for display in its field again, or "" if it contains characters that cannot be typed."""
    return text if text is not None and text.isprintable() else ""


def _status_of(error: InmemError) -> int:
    if isinstance(error, NotFoundError):
        return 404
    if isinstance(error, UsageError):
        return 400
    return 503 if isinstance(error, DatabaseClosedError) else 500
