"""Requests to the RunIndex actor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from inmem.actors.messages import edge
from inmem.actors.messages.request import Request
from inmem.engine.keys import normalize_run_id
from inmem.primitives.labels import checked_tags
from inmem.primitives.run_status import status_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from inmem.primitives.run_status import RunStatus


@dataclass(frozen=True, slots=True)
class CreateRun(Request):
    """Register a run, under a fresh id if `run` is None. Answered by its RunMetadata."""

    run: str | UUID | None = None
    parent: str | UUID | None = None
    tags: Iterable[str] = ()
    metadata: Any = None

    EDGE: ClassVar = {
        "run": edge.optional(normalize_run_id),
        "parent": edge.optional(normalize_run_id),
        "tags": checked_tags,
        "metadata": edge.metadata,
    }


@dataclass(frozen=True, slots=True)
class GetRun(Request):
    """Answered by the RunMetadata, or None."""

    run: str | UUID


@dataclass(frozen=True, slots=True)
class UpdateRunStatus(Request):
    """Move a run to a status. Answered by its RunMetadata, or refused with InvalidStatusTransitionError."""

    run: str | UUID
    status: RunStatus | str

    EDGE: ClassVar = {"run": normalize_run_id, "status": status_of}


@dataclass(frozen=True, slots=True)
class CompleteRun(Request):
    """Move a run to Completed. Answered by its RunMetadata."""

    run: str | UUID


@dataclass(frozen=True, slots=True)
class FailRun(Request):
    """Move a run to Failed and keep the reason. Answered by its RunMetadata."""

    run: str | UUID
    error: str = field(repr=False)

    EDGE: ClassVar = {"run": normalize_run_id, "error": edge.error}


@dataclass(frozen=True, slots=True)
class CancelRun(Request):
    """Move a run to Cancelled. Answered by its RunMetadata."""

    run: str | UUID


@dataclass(frozen=True, slots=True)
class PauseRun(Request):
    """Move a run to Paused. Answered by its RunMetadata."""

    run: str | UUID


@dataclass(frozen=True, slots=True)
class ResumeRun(Request):
    """Move a paused run back to Active. Answered by its RunMetadata."""

    run: str | UUID


@dataclass(frozen=True, slots=True)
class ArchiveRun(Request):
    """Move a run to Archived for good. Answered by its RunMetadata."""

    run: str | UUID


@dataclass(frozen=True, slots=True)
class DeleteRun(Request):
    """Remove a run and all its data. Answered by None."""

    run: str | UUID


@dataclass(frozen=True, slots=True)
class AddRunTags(Request):
    """Give a run further tags. Answered by its RunMetadata."""

    run: str | UUID
    tags: Iterable[str]

    EDGE: ClassVar = {"run": normalize_run_id, "tags": checked_tags}


@dataclass(frozen=True, slots=True)
class UpdateRunMetadata(Request):
    """Set some keys of a run's metadata. Answered by its RunMetadata."""

    run: str | UUID
    metadata: Any

    EDGE: ClassVar = {"run": normalize_run_id, "metadata": edge.metadata}


@dataclass(frozen=True, slots=True)
class QueryRuns(Request):
    """Answered by the list of RunMetadata that pass every filter, in order of creation."""

    status: RunStatus | str | None = None
    tags: Iterable[str] = ()
    created_after: int | None = None
    created_before: int | None = None
    parent: str | UUID | None = None
    include_archived: bool = False
    limit: int | None = None
    after: str | UUID | None = None
    newest_first: bool = False

    EDGE: ClassVar = {
        "status": edge.optional(status_of),
        "tags": checked_tags,
        "created_after": edge.optional(edge.time_us("created_after")),
        "created_before": edge.optional(edge.time_us("created_before")),
        "parent": edge.optional(normalize_run_id),
        "include_archived": bool,
        "limit": edge.limit,
        "after": edge.optional(normalize_run_id),
        "newest_first": bool,
    }


@dataclass(frozen=True, slots=True)
class ListRuns(Request):
    """Answered by the ids of the runs, in order of creation."""

    include_archived: bool = False
    limit: int | None = None

    EDGE: ClassVar = {"include_archived": bool, "limit": edge.limit}


@dataclass(frozen=True, slots=True)
class GetChildRuns(Request):
    """Answered by the list of RunMetadata of the runs created with this parent."""

    run: str | UUID
    include_archived: bool = False
    limit: int | None = None

    EDGE: ClassVar = {"run": normalize_run_id, "include_archived": bool, "limit": edge.limit}


@dataclass(frozen=True, slots=True)
class GetRunStats(Request):
    """Answered by the RunStats."""

    EDGE: ClassVar = {}
