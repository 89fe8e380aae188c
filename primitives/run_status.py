"""The statuses of a run, and the transitions between them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal, TypeAlias

from inmem.engine.errors import InvalidStatusTransitionError
from inmem.engine.keys import Tag
from inmem.primitives.arguments import one_of


class RunStatus(StrEnum):
    """The status of a run.

    Attributes:
        ACTIVE: the run has begun; it may move to any other status.
        COMPLETED: the run reached its end.
        FAILED: an error ended the run.
        CANCELLED: the run was stopped deliberately.
        PAUSED: the run is waiting; it may become Active again.
        ARCHIVED: the run is readable, but not in default queries. No status follows.
    """

    ACTIVE = "Active"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    PAUSED = "Paused"
    ARCHIVED = "Archived"


RunStatusName: TypeAlias = RunStatus | Literal["Active", "Completed", "Failed", "Cancelled", "Paused", "Archived"]
"""A status as `query_runs` and `update_status` accept it: a RunStatus or its name."""


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
"""The statuses that may follow each status. No other transition is allowed, not even to the same status."""

FINISHED: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
"""The statuses that set the run's `completed_at` when they begin."""

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
    """Return the status, given as a RunStatus or by name.

    Raises:
        UsageError: `status` is not a run status.
    """
    return status if type(status) is RunStatus else RunStatus(one_of("status", status, tuple(RunStatus)))


def check_transition(run_id: str, old: RunStatus, new: RunStatus) -> None:
    """Raise an error unless the run may move from status `old` to `new`.

    Raises:
        InvalidStatusTransitionError: the transition is not allowed.
    """
    if new not in TRANSITIONS[old]:
        raise InvalidStatusTransitionError(old, new, run_id)
