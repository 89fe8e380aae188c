"""The state of a run: its current cells and keys, and their history as far as the log still holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from inmem import InvariantError
from inmem.actors.options import MEMORY
from inmem.ui.desk import link, shown_value
from inmem.ui.key_history import KINDS, history_of
from inmem.ui.run_facts import facts_of
from inmem.ui.values import preview

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup
    from starlette.responses import Response

    from inmem import Transaction
    from inmem.ui.desk import Look
    from inmem.ui.jobs import Progress
    from inmem.ui.key_history import History, Past

PAGE_ROWS: Final = 100
"""The maximum number of cells, and of keys, on a page."""


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A cell or key on one line: `time_us` is a cell's last change, or a key's deadline, or None."""

    kind: str
    name: str
    version: int
    time_us: int | None
    value: Markup


@dataclass(frozen=True, slots=True)
class EntryRows:
    """A page of cells or keys; `more` is the URL of the next page."""

    rows: list[EntryRow]
    more: str | None


def show_state(look: Look) -> Response:
    """Show a page of a run's cells and a page of its keys."""
    run, prefix = look.required("run"), look.text("prefix")
    cells_after, keys_after = look.text("cells"), look.text("keys")
    with look.snapshot(run) as txn:
        facts = facts_of(txn)
        address: dict[str, object] = {"run": run, "prefix": prefix, "cells": cells_after, "keys": keys_after}
        cells = _page(txn, "cell", "cells", txn.cells.list(prefix, PAGE_ROWS + 1, cells_after), address)
        keys = _page(txn, "key", "keys", txn.kv.list(prefix, PAGE_ROWS + 1, keys_after), address)
    # If the prefix is a full name that no longer exists, the page of that entry tells where to look for its past.
    gone = [
        link("entry", run=run, kind=kind, name=prefix)
        for kind, page in (("cell", cells), ("key", keys))
        if prefix is not None and prefix not in [row.name for row in page.rows]
    ]
    return look.render("state.html", run=facts, tab="state", cells=cells, keys=keys, prefix=prefix, gone=gone)


def show_entry(look: Look) -> Response:
    """Show one whole cell or key and, with `history`, its past."""
    run, kind, name = look.required("run"), look.required("kind"), look.required("name")
    if kind not in KINDS:
        raise HTTPException(400, "a kind is a cell or a key")
    label = look.number("history")
    with look.snapshot(run) as txn:
        facts = facts_of(txn)
        row, value = _entry(txn, kind, name)
        version = txn.start_version
    path = None if look.database.path == MEMORY else look.database.path
    job = look.desk.jobs.find(("history", run, kind, name))
    if label is not None and path is not None:
        folder = path

        def read(progress: Progress) -> History:
            return history_of(folder, run, kind, name, progress)

        job = look.desk.jobs.start(("history", run, kind, name), label, read)
        if not look.is_part:
            return RedirectResponse(link("entry", run=run, kind=kind, name=name, past="1"), 303)

    def shown_then(change: Past) -> dict[str, Any]:
        all_of_it = None if change.is_whole else link("value", run=run, at=change.version, **{kind: name})
        return {"html": change.html, "all": all_of_it}

    return look.render(
        "entry.html",
        part=look.is_part,
        run=facts,
        tab="state",
        kind=kind,
        name=name,
        row=row,
        whole=None if row is None else shown_value(value, link("value", run=run, **{kind: name})),
        job=job,
        now=version,
        in_memory=path is None,
        shown=shown_then,
    )


def _page(txn: Transaction, kind: str, cursor: str, names: Sequence[str], address: dict[str, object]) -> EntryRows:
    """Return the rows of all names but one that is too many, which only tells that there are more.

    Args:
        txn: the transaction.
        kind: "cell" or "key".
        cursor: the parameter of the page's URL that tells where the next page of this kind begins.
        names: the names, at most one more than fit.
        address: the parameters of this page's URL.
    """
    rows = [_row(txn, kind, name) for name in names[:PAGE_ROWS]]
    return EntryRows(rows, link("state", **{**address, cursor: rows[-1].name}) if len(names) > PAGE_ROWS else None)


def _row(txn: Transaction, kind: str, name: str) -> EntryRow:
    row, _ = _entry(txn, kind, name)
    if row is None:
        raise InvariantError(f"run {txn.run_id!r}: the {kind} {name!r} is listed and does not exist")
    return row


def _entry(txn: Transaction, kind: str, name: str) -> tuple[EntryRow | None, Any]:
    """Return the row and the value of a cell or key; both are None if it does not exist."""
    if kind == "cell":
        state = txn.cells.read(name)
        if state is None:
            return None, None
        return EntryRow(kind, name, state.version, state.updated_at, preview(state.value)), state.value
    found = txn.kv.get_versioned(name)
    if found is None:
        return None, None
    return EntryRow(kind, name, found.version, found.expires_at, preview(found.value)), found.value
