"""The list of runs: filtered by the index, searched by scanning, with pages in both directions."""

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
"""Runs that one page reads when searching for a text: about 20 ms. The page then offers to continue the search."""

_BATCH_ROWS: Final = 100
"""Runs read at a time while searching."""

_ALL: Final = "All"
"""The status filter that includes archived runs. Without a status they are omitted."""


@dataclass(frozen=True, slots=True)
class Filter:
    """The filters in the URL."""

    status: str | None
    tags: tuple[str, ...]
    parent: str | None
    text: str | None
    oldest_first: bool

    def link(self, **changes: object) -> str:
        """Return the URL of the first page of this list, with some filters changed if given."""
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
    """One page of runs, and the cursors before and after it: run ids, or None if there are no more runs there."""

    runs: list[RunMetadata]
    before: str | None
    after: str | None
    is_cut_short: bool
    """Whether the search stopped after the maximum number of runs; there may be more matches."""


def show_runs(look: Look) -> Response:
    """Show a page of runs."""
    wanted = _filter_of(look)
    before, after = look.text("before"), look.text("after")
    with look.snapshot() as txn:
        try:
            page = _page(txn, wanted, before, after)
        except RunNotFoundError:
            # The run of the cursor was deleted: show the first page.
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
    """Start a search for runs that hold data but were never registered; with `past`, show its result so far.

    The search has to look at every table.
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
    """Return the page that ends before the run `before`, or begins after the run `after`, or the first page."""
    is_backward = before is not None
    read = 0
    last: str | None = None
    found: list[RunMetadata] = []
    # Reads one run more than fits, to know whether there are more.
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
    # The page that the user came from had runs, unless they were deleted since.
    behind = None if before is None and after is None else (runs[0].run_id if runs else (before or after))
    if is_backward:
        return Page(runs[::-1], beyond, behind, is_cut_short)
    return Page(runs, behind, beyond, is_cut_short)


def _query(txn: Transaction, wanted: Filter, cursor: str | None, *, is_backward: bool) -> Iterator[RunMetadata]:
    """Yield the runs that pass the filters of the index, read in batches."""
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
    """Return the text if it is the id of a run, registered or not, which can be linked without a search."""
    try:
        is_run = txn.runs.get_run(text) is not None or txn.on(text).contents.holds_data()
    except UsageError:
        return None
    return text if is_run else None
