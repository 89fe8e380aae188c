"""The statuses of a run, and which may follow which."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal, TypeAlias

from inmem.engine.errors import InvalidStatusTransitionError
from inmem.engine.keys import Tag
from inmem.primitives.arguments import one_of


class RunStatus(StrEnum):
    """Where a run stands.

    Attributes:
        ACTIVE: it has begun; may become any other.
        COMPLETED: it has reached its end.
        FAILED: an error has ended it.
        CANCELLED: somebody has ended it.
        PAUSED: it waits, and may become active again.
        ARCHIVED: readable, and out of what queries find by default. The last of all.
    """

    ACTIVE = "Active"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    PAUSED = "Paused"
    ARCHIVED = "Archived"


RunStatusName: TypeAlias = RunStatus | Literal["Active", "Completed", "Failed", "Cancelled", "Paused", "Archived"]
"""What `query_runs` and `update_status` take as a status: one, or its name."""


TRANSITIONS: Final[dict[RunStatus, tuple[RunStatus, ...]]] = {
    RunStatus.ACTIVE: (
        RunStatus.COMPLETED,
        RunStatus.FAILED,
        RunStatus.CANCELLED,
        RunStatus.PAUSED,
        RunStatus.ARCHIVED,
    ),
    RunStatus.PAUSED: (RunStatus.ACTIVE, RunStatus.CANCELLED, RunStatus.ARCHIVED),
    RunStatus.COMPLETED: (RunStatus.ARCHIVED,),
    RunStatus.FAILED: (RunStatus.ARCHIVED,),
    RunStatus.CANCELLED: (RunStatus.ARCHIVED,),
    RunStatus.ARCHIVED: (),
}
"""What each status may become. Nothing else is allowed, staying the same included."""

FINISHED: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
"""Statuses whose beginning is the run's `completed_at`."""

STATUS_TAGS: Final = {
    RunStatus.ACTIVE: Tag.RUN_ACTIVE,
    RunStatus.COMPLETED: Tag.RUN_COMPLETED,
    RunStatus.FAILED: Tag.RUN_FAILED,
    RunStatus.CANCELLED: Tag.RUN_CANCELLED,
    RunStatus.PAUSED: Tag.RUN_PAUSED,
    RunStatus.ARCHIVED: Tag.RUN_ARCHIVED,
}
"""The table that lists the runs of each status."""


def status_of(status: RunStatus | str) -> RunStatus:
    """Return the status given as such or by its name.

    Raises:
        UsageError: there is no such status.
    """
    return status if type(status) is RunStatus else RunStatus(one_of("status", status, tuple(RunStatus)))


def check_transition(run_id: str, old: RunStatus, new: RunStatus) -> None:
    """Return only if the run, which is `old`, may become `new`.

    Raises:
        InvalidStatusTransitionError: it may not.
    """
    if new not in TRANSITIONS[old]:
        raise InvalidStatusTransitionError(old, new, run_id)
