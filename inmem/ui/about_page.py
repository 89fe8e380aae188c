"""The page about a run: its metadata, its children, and whether its chain of events is intact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from inmem.ui.chain_page import chain_of
from inmem.ui.desk import link, shown_value
from inmem.ui.run_facts import RunFacts, facts_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from inmem.ui.desk import Look

_CHILDREN_SHOWN: Final = 20


def show_about(look: Look) -> Response:
    """Show a run's metadata, children and chain."""
    run = look.required("run")
    with look.snapshot(run) as txn:
        facts = facts_of(txn)
        found = txn.runs.get_child_runs(run, include_archived=True, limit=_CHILDREN_SHOWN + 1)
        children = [RunFacts.of(txn, child.run_id, child) for child in found[:_CHILDREN_SHOWN]]
        head = txn.events.head()
    return look.render(
        "about.html",
        run=facts,
        tab="about",
        head=head,
        chain=chain_of(look, facts),
        children=children,
        all_children=link("runs", parent=run, status="All", order="oldest") if len(found) > _CHILDREN_SHOWN else None,
        metadata=None if facts.known is None else shown_value(facts.known.metadata, link("value", run=run)),
    )
