"""The facts that the explorer shows about a run on every page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inmem import RunNotFoundError, RunStatus
from inmem.ui.desk import link

if TYPE_CHECKING:
    from inmem import RunMetadata, Transaction

_LASTING = (RunStatus.ACTIVE, RunStatus.PAUSED)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run, registered or not.

    Attributes:
        run_id: its id.
        known: its entry in the RunIndex, or None if it is not registered.
        events: the number of its events.
        traces: the number of its traces.
        span_us: the time from its creation to its end in microseconds; None while it lasts.
        start_us: the time of its creation; for an unregistered run, of its first event, or None if it has none.
    """

    run_id: str
    known: RunMetadata | None
    events: int
    traces: int
    span_us: int | None
    start_us: int | None

    @classmethod
    def of(cls, txn: Transaction, run_id: str, known: RunMetadata | None) -> RunFacts:
        """Return the facts of a run. O(log n)."""
        here = txn.on(run_id)
        span_us = start_us = None
        if known is not None:
            start_us = known.created_at
            if known.status not in _LASTING:
                span_us = (known.completed_at or known.updated_at) - known.created_at
        else:
            first = here.events.read(0)
            start_us = None if first is None else first.timestamp
        return cls(run_id, known, here.events.len(), here.traces.count(), span_us, start_us)

    @property
    def link(self) -> str:
        """The URL of the run."""
        return link("events", run=self.run_id)


def facts_of(txn: Transaction) -> RunFacts:
    """Return the facts of the transaction's run.

    Raises:
        RunNotFoundError: the run is not registered and holds no data.
    """
    known = txn.runs.get_run(txn.run_id)
    if known is None and not txn.contents.holds_data():
        raise RunNotFoundError(txn.run_id)
    return RunFacts.of(txn, txn.run_id, known)
