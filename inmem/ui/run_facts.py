"""What the explorer says of a run wherever it names it."""

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
        known: what the RunIndex knows of it, or None.
        events: how many events it has.
        traces: how many traces it has.
        span_us: from its creation to its end, microseconds; None while it lasts.
        start_us: when it was created; of an unregistered run, when its first event was; None if there is none.
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
    def is_live(self) -> bool:
        """Whether the run may go on."""
        return self.known is None or self.known.status in _LASTING

    @property
    def link(self) -> str:
        """The address of the run."""
        return link("events", run=self.run_id)


def facts_of(txn: Transaction) -> RunFacts:
    """Return the facts of the transaction's run.

    Raises:
        RunNotFoundError: it is not registered and holds nothing.
    """
    known = txn.runs.get_run(txn.run_id)
    if known is None and not txn.contents.holds_data():
        raise RunNotFoundError(txn.run_id)
    return RunFacts.of(txn, txn.run_id, known)
