"""The list of runs: filtered by the index, searched by reading, a page at a time in both directions."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from inmem import RunNotFoundError, RunStatus, UsageError
from inmem.ui.desk import link
from inmem.ui.run_facts import RunFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.responses import Response

    from inmem import RunMetadata, Transaction
    from inmem.ui.desk import Look
    from inmem.ui.jobs import Progress

PAGE_ROWS: Final = 50
"""Runs on a page."""

SEARCH_ROWS_MAX: Final = 1000
"""Runs that one page reads in search of a text: some 20 ms. Then it says how to search on."""

_BATCH_ROWS: Final = 100
"""Runs read at a time while searching."""

_ALL: Final = "All"
"""As a status: archived runs too. Without a status, they are left out."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What the address asks for."""

    status: str | None
    tags: tuple[str, ...]
    parent: str | None
    text: str | None
    oldest_first: bool

    def link(self, **changes: object) -> str:
        """Return the address of the first page of this list, or of one with other filters."""
        query: dict[str, object] = {
            "status": self.status,
            "tag": list(self.tags) or None,
            "parent": self.parent,
            "q": self.text,
            "order": "oldest" if self.oldest_first else None,
        }
        return link("runs", **{**query, **changes})


@dataclass(frozen=True, slots=True)
class Page:
    """One page of runs, and the cursors around it: ids of runs, or None where nothing lies beyond."""

    runs: list[RunMetadata]
    before: str | None
    after: str | None
    is_cut_short: bool
    """The search has read as many runs as it may; whether there are more matches is not known."""


def show_runs(look: Look) -> Response:
    """Show a page of runs."""
    wanted = _filter_of(look)
    before, after = look.text("before"), look.text("after")
    with look.snapshot() as txn:
        try:
            page = _page(txn, wanted, before, after)
        except RunNotFoundError:
            # The run at which the page was to begin has been deleted: begin anew.
            return RedirectResponse(wanted.link(), 303)
        stats = txn.runs.get_stats()
        rows = [RunFacts.of(txn, run.run_id, run) for run in page.runs]
        named = None if wanted.text is None else _named(txn, wanted.text)
    counts = [
        (None, stats.total_runs - stats.archived_runs),
        *((str(status), getattr(stats, f"{status.lower()}_runs")) for status in RunStatus),
    ]
    return look.render(
        "runs.html",
        wanted=wanted,
        counts=counts,
        rows=rows,
        page=page,
        named=named,
        total=stats.total_runs,
    )


def show_unregistered(look: Look) -> Response:
    """Begin to find the runs that hold data and were never registered; with `past`, show what is known of them.

    Finding them means looking at every table.
    """
    job = look.desk.jobs.find("unregistered")
    if job is None or look.text("past") is None:

        def find(progress: Progress) -> list[str]:
            progress(0, 0)
            return look.database.unregistered_runs()

        look.desk.jobs.start("unregistered", look.database.version, find)
        return RedirectResponse(link("unregistered", past="1", after=look.text("after")), 303)
    found: list[str] = job.result or []
    after = look.text("after")
    start = 0 if after is None else bisect_right(found, after)
    shown = found[start : start + PAGE_ROWS]
    with look.snapshot() as txn:
        rows = [RunFacts.of(txn, run_id, None) for run_id in shown]
    more = shown[-1] if start + PAGE_ROWS < len(found) else None
    return look.render("unregistered.html", job=job, rows=rows, count=len(found), more=more)


def _filter_of(look: Look) -> Filter:
    status = look.text("status")
    if status not in (None, _ALL, *RunStatus):
        raise HTTPException(400, "there is no such status")
    return Filter(status, tuple(look.texts("tag")), look.text("parent"), look.text("q"), look.text("order") == "oldest")


def _page(txn: Transaction, wanted: Filter, before: str | None, after: str | None) -> Page:
    """Return the page that ends before one run, or begins behind another, or the first one."""
    is_backward = before is not None
    read = 0
    last: str | None = None
    found: list[RunMetadata] = []
    # One more than fits: then it is known whether there are more.
    for run in _query(txn, wanted, before or after, is_backward=is_backward):
        read += 1
        if _matches(run, wanted.text):
            found.append(run)
        if len(found) > PAGE_ROWS:
            break
        last = run.run_id
        if wanted.text is not None and read >= SEARCH_ROWS_MAX:
            break
    is_full = len(found) > PAGE_ROWS
    is_cut_short = not is_full and wanted.text is not None and read >= SEARCH_ROWS_MAX
    runs = found[:PAGE_ROWS]
    beyond = runs[-1].run_id if is_full else (last if is_cut_short else None)
    # Where the page was come from there are runs, unless they were deleted meanwhile.
    behind = None if before is None and after is None else (runs[0].run_id if runs else (before or after))
    if is_backward:
        return Page(runs[::-1], beyond, behind, is_cut_short)
    return Page(runs, behind, beyond, is_cut_short)


def _query(txn: Transaction, wanted: Filter, cursor: str | None, *, is_backward: bool) -> Iterator[RunMetadata]:
    """Yield the runs that pass the filters which the index knows, read in batches."""
    rows = PAGE_ROWS + 1 if wanted.text is None else _BATCH_ROWS
    while True:
        batch = txn.runs.query_runs(
            status=None if wanted.status in (None, _ALL) else RunStatus(wanted.status),
            tags=wanted.tags,
            parent=wanted.parent,
            include_archived=wanted.status == _ALL,
            limit=rows,
            after=cursor,
            newest_first=wanted.oldest_first == is_backward,
        )
        yield from batch
        if len(batch) < rows:
            return
        cursor = batch[-1].run_id


def _matches(run: RunMetadata, text: str | None) -> bool:
    if text is None:
        return True
    wanted = text.casefold()
    return any(wanted in part.casefold() for part in (run.run_id, *run.tags, run.error or ""))


def _named(txn: Transaction, text: str) -> str | None:
    """Return the text if it is the id of a run, registered or not: then there is no need to search for it."""
    try:
        is_run = txn.runs.get_run(text) is not None or txn.on(text).contents.holds_data()
    except UsageError:
        return None
    return text if is_run else None
