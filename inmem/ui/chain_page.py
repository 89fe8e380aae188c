"""The verification of a run's chain of events: started by the user, done in the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

from inmem.ui.desk import link
from inmem.ui.run_facts import facts_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from inmem import ChainVerification
    from inmem.ui.desk import Look
    from inmem.ui.jobs import Job, Progress
    from inmem.ui.run_facts import RunFacts


@dataclass(frozen=True, slots=True)
class Chain:
    """The known state of a run's chain of events.

    Attributes:
        run: the id of the run.
        length: the current number of its events.
        job: the verification, or None if none was started.
    """

    run: str
    length: int
    job: Job | None

    @property
    def verification(self) -> ChainVerification | None:
        """The result of the verification, or None if it has not finished."""
        return None if self.job is None else self.job.result

    @property
    def added(self) -> int:
        """The number of events appended since the verification."""
        return 0 if self.verification is None else self.length - self.verification.length

    @property
    def link(self) -> str:
        """The URL that starts a verification of the run's current state."""
        return link("chain", run=self.run, go=self.length)


def chain_of(look: Look, run: RunFacts) -> Chain:
    """Return the known state of a run's chain, without starting a verification."""
    return Chain(run.run_id, run.events, look.desk.jobs.find(("chain", run.run_id)))


def show_chain(look: Look) -> Response:
    """Show the known state of a chain; with `go`, start a verification."""
    run, label = look.required("run"), look.number("go")
    with look.snapshot(run) as txn:
        facts = facts_of(txn)
    if label is not None:
        _verify(look, facts, label)
        if not look.is_part:
            return RedirectResponse(link("chain", run=run), 303)
    return look.render("chain.html", run=facts, tab=None, chain=chain_of(look, facts))


def _verify(look: Look, run: RunFacts, label: int) -> None:
    def verify(progress: Progress) -> ChainVerification:
        progress(0, run.events)
        return look.database.events.verify_chain(run.run_id, lambda done: progress(done, run.events))

    look.desk.jobs.start(("chain", run.run_id), label, verify)
