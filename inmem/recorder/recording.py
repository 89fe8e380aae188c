"""Recording of transcript files: start the dispenser and the agents, and wait until they have finished."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pykka

from inmem import UsageError
from inmem.recorder.agent import Agent
from inmem.recorder.dispenser import Dispenser
from inmem.recorder.source import TranscriptFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inmem import Database
    from inmem.recorder.messages import Progress


@dataclass(frozen=True, slots=True)
class RecordSummary:
    """The result of a recording.

    Attributes:
        runs: conversations recorded to their end.
        messages: their messages, plus the recorded messages of conversations that failed.
        tool_calls: tool calls in these runs.
        already_recorded: messages, of those counted, that an earlier recording had recorded.
        errors: a line for each file that could not be read to its end, and each conversation that failed.
        seconds: the duration of the recording.
    """

    runs: int
    messages: int
    tool_calls: int
    already_recorded: int
    errors: tuple[str, ...]
    seconds: float


def record_files(
    db: Database,
    paths: Sequence[str | os.PathLike[str] | TranscriptFile],
    *,
    agents: int = 4,
    pace_s: float = 0.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> RecordSummary:
    """Record every conversation of the files as a run of `db`, each message exactly once.

    Messages already recorded are skipped. So calling this again after an interruption, at any moment and any number of
    times, completes the recording. A conversation that has changed in its file since, even by one added message, is a
    new conversation: all of it is recorded as a separate run. An error in one file or conversation does not affect the
    others.

    Args:
        db: a database open for writing.
        paths: transcript files, or what was read of them; source.py describes the formats.
        agents: how many conversations are recorded at the same time, each by its own pykka actor.
        pace_s: seconds that an agent waits after each message.
        on_progress: called a few times a second, in another thread, with the total progress so far.

    An exception such as KeyboardInterrupt stops every agent between two messages; calling this again continues after
    the messages recorded so far.

    Raises:
        UsageError: `agents` or `pace_s` is out of range.
    """
    if agents < 1:
        raise UsageError(f"agents: must be at least 1, not {agents}")
    if not pace_s >= 0:
        raise UsageError(f"pace_s: must be at least 0, not {pace_s}")
    started_at = time.monotonic()
    done: pykka.ThreadingFuture[tuple[Progress, list[str]]] = pykka.ThreadingFuture()
    files = [path if isinstance(path, TranscriptFile) else os.fspath(path) for path in paths]
    dispenser = Dispenser.start(files, agents, done, on_progress)
    team: list[pykka.ActorRef[Agent]] = []
    try:
        for _ in range(agents):
            team.append(Agent.start(db, dispenser, pace_s))  # noqa: PERF401  those that are there are to be stopped
        progress, errors = done.get()
    finally:
        # Tell all actors to stop before waiting for any: a second interrupt here leaves none of them running.
        stopping = [agent.stop(block=False) for agent in team]
        dispenser_stopped = dispenser.stop(block=False)
        # An agent finishes its step before it stops, so no agent uses the database after this.
        for stopped in stopping:
            stopped.get()
    # Not reached after an exception: the dispenser may be blocked reading from a silent pipe then.
    dispenser_stopped.get()
    return RecordSummary(
        runs=progress.runs,
        messages=progress.recorded + progress.already_recorded,
        tool_calls=progress.tool_calls,
        already_recorded=progress.already_recorded,
        errors=tuple(errors),
        seconds=time.monotonic() - started_at,
    )
