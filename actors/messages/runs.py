"""Requests to the RunIndex actor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from inmem.actors.messages import edge
from inmem.actors.messages.request import Request
from inmem.engine.keys import normalize_run_id
from inmem.primitives.labels import checked_tags
from inmem.primitives.run_status import RunStatus, status_of


class CreateRun(Request, frozen=True):
    """Register a run, under a fresh id if `run` is None. Answered by its RunMetadata."""

    run: str | UUID | None = None
    parent: str | UUID | None = None
    tags: Iterable[str] = ()
    metadata: Any = None

    EDGE: ClassVar = {
        "run": edge.optional(normalize_run_id),
        "parent": edge.optional(normalize_run_id),
        "tags": checked_tags,
        "metadata": edge.new_metadata,
    }


class GetRun(Request, frozen=True):
    """Answered by the RunMetadata, or None."""

    run: str | UUID


class UpdateRunStatus(Request, frozen=True):
    """Move a run to a status. Answered by its RunMetadata, or refused with InvalidStatusTransitionError."""

    run: str | UUID
    status: RunStatus | str

    EDGE: ClassVar = {"run": normalize_run_id, "status": status_of}


class CompleteRun(Request, frozen=True):
    """Move a run to Completed. Answered by its RunMetadata."""

    run: str | UUID


class FailRun(Request, frozen=True):
    """Move a run to Failed and keep the reason. Answered by its RunMetadata."""

    run: str | UUID
    error: str

    EDGE: ClassVar = {"run": normalize_run_id, "error": edge.error}
    UNSHOWN: ClassVar = ("error",)


class CancelRun(Request, frozen=True):
    """Move a run to Cancelled. Answered by its RunMetadata."""

    run: str | UUID


class PauseRun(Request, frozen=True):
    """Move a run to Paused. Answered by its RunMetadata."""

    run: str | UUID


class ResumeRun(Request, frozen=True):
    """Move a paused run back to Active. Answered by its RunMetadata."""

    run: str | UUID


class ArchiveRun(Request, frozen=True):
    """Move a run to Archived for good. Answered by its RunMetadata."""

    run: str | UUID


class DeleteRun(Request, frozen=True):
    """Remove a run and all its data. Answered by None."""

    run: str | UUID


class AddRunTags(Request, frozen=True):
    """Give a run further tags. Answered by its RunMetadata."""

    run: str | UUID
    tags: Iterable[str]

    EDGE: ClassVar = {"run": normalize_run_id, "tags": checked_tags}


class UpdateRunMetadata(Request, frozen=True):
    """Set some keys of a run's metadata. Answered by its RunMetadata."""

    run: str | UUID
    metadata: Any

    EDGE: ClassVar = {"run": normalize_run_id, "metadata": edge.metadata}


class QueryRuns(Request, frozen=True):
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


class ListRuns(Request, frozen=True):
    """Answered by the ids of the runs, in order of creation."""

    include_archived: bool = False
    limit: int | None = None

    EDGE: ClassVar = {"include_archived": bool, "limit": edge.limit}


class GetChildRuns(Request, frozen=True):
    """Answered by the list of RunMetadata of the runs created with this parent."""

    run: str | UUID
    include_archived: bool = False
    limit: int | None = None

    EDGE: ClassVar = {"run": normalize_run_id, "include_archived": bool, "limit": edge.limit}


class GetRunStats(Request, frozen=True):
    """Answered by the RunStats."""

    EDGE: ClassVar = {}
