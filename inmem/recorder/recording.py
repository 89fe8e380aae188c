"""Recording files: some agents, a dispenser, and the wait for their end."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pykka

from inmem import UsageError
from inmem.recorder.agent import Agent
from inmem.recorder.dispenser import Dispenser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inmem import Database
    from inmem.recorder.messages import Progress


@dataclass(frozen=True, slots=True)
class RecordSummary:
    """What a recording came to.

    Attributes:
        runs: conversations that are recorded to their end.
        messages: their messages, and those recorded of conversations that failed.
        tool_calls: of the runs.
        already_recorded: those of the messages that were found recorded.
        errors: a line for each file that could not be read to its end, and each conversation that failed.
        seconds: how long it took.
    """

    runs: int
    messages: int
    tool_calls: int
    already_recorded: int
    errors: tuple[str, ...]
    seconds: float


def record_files(
    db: Database,
    paths: Sequence[str | os.PathLike[str]],
    *,
    agents: int = 4,
    pace_s: float = 0.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> RecordSummary:
    """Record every conversation of the files as a run of `db`, each message exactly once.

    What is recorded already is left alone, so calling this again after it was interrupted, at whatever moment and
    however often, completes the recording. A conversation that has changed in its file since, were it by one more
    message, is another one: all of it is recorded as a run of its own. Trouble with one file or conversation does not
    keep the others from being recorded.

    Args:
        db: open for writing.
        paths: transcript files; source.py tells the formats.
        agents: how many conversations are recorded at the same time, each by a pykka actor of its own.
        pace_s: seconds that an agent waits after each message.
        on_progress: called a few times a second, in another thread, with all the progress so far.

    An exception such as KeyboardInterrupt ends it between two messages of every agent; which are recorded is seen by
    calling it again.

    Raises:
        UsageError: `agents` or `pace_s` is out of range.
    """
    if agents < 1:
        raise UsageError(f"agents: must be at least 1, not {agents}")
    if not pace_s >= 0:
        raise UsageError(f"pace_s: must be at least 0, not {pace_s}")
    started_at = time.monotonic()
    done: pykka.ThreadingFuture[tuple[Progress, list[str]]] = pykka.ThreadingFuture()
    dispenser = Dispenser.start([os.fspath(path) for path in paths], agents, done, on_progress)
    team: list[pykka.ActorRef[Agent]] = []
    try:
        for _ in range(agents):
            team.append(Agent.start(db, dispenser, pace_s))  # noqa: PERF401  those that are there are to be stopped
        progress, errors = done.get()
    finally:
        # All are told before one is waited for: who is interrupted here, once more, leaves none that goes on.
        stopping = [agent.stop(block=False) for agent in team]
        dispenser_stopped = dispenser.stop(block=False)
        # An agent ends its step before it stops: nobody uses the database after this.
        for stopped in stopping:
            stopped.get()
    # Not where it ends in an exception: the dispenser may be reading from a pipe that says nothing.
    dispenser_stopped.get()
    return RecordSummary(
        runs=progress.runs,
        messages=progress.recorded + progress.already_recorded,
        tool_calls=progress.tool_calls,
        already_recorded=progress.already_recorded,
        errors=tuple(errors),
        seconds=time.monotonic() - started_at,
    )
