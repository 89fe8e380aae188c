"""Requests to the RunIndex actor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from inmem.actors.messages import edge
from inmem.actors.messages.request import Request
from inmem.engine.keys import normalize_run_id
from inmem.primitives.labels import checked_tags
from inmem.primitives.run_status import RunStatusName, status_of


class CreateRun(Request, frozen=True):
    """Register a run, with a fresh id if `run` is None. The reply is its RunMetadata."""

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
    """Read a run. The reply is its RunMetadata, or None."""

    run: str | UUID


class UpdateRunStatus(Request, frozen=True):
    """Move a run to a status. The reply is its RunMetadata, or an InvalidStatusTransitionError."""

    run: str | UUID
    status: RunStatusName

    EDGE: ClassVar = {"run": normalize_run_id, "status": status_of}


class CompleteRun(Request, frozen=True):
    """Move a run to Completed. The reply is its RunMetadata."""

    run: str | UUID


class FailRun(Request, frozen=True):
    """Move a run to Failed and store the reason. The reply is its RunMetadata."""

    run: str | UUID
    error: str

    EDGE: ClassVar = {"run": normalize_run_id, "error": edge.error}
    UNSHOWN: ClassVar = ("error",)


class CancelRun(Request, frozen=True):
    """Move a run to Cancelled. The reply is its RunMetadata."""

    run: str | UUID


class PauseRun(Request, frozen=True):
    """Move a run to Paused. The reply is its RunMetadata."""

    run: str | UUID


class ResumeRun(Request, frozen=True):
    """Move a Paused run back to Active. The reply is its RunMetadata."""

    run: str | UUID


class ArchiveRun(Request, frozen=True):
    """Move a run to Archived, permanently. The reply is its RunMetadata."""

    run: str | UUID


class DeleteRun(Request, frozen=True):
    """Remove a run and all its data. The reply is None."""

    run: str | UUID


class AddRunTags(Request, frozen=True):
    """Add tags to a run. The reply is its RunMetadata."""

    run: str | UUID
    tags: Iterable[str]

    EDGE: ClassVar = {"run": normalize_run_id, "tags": checked_tags}


class RemoveRunTags(Request, frozen=True):
    """Remove tags from a run. The reply is its RunMetadata."""

    run: str | UUID
    tags: Iterable[str]

    EDGE: ClassVar = {"run": normalize_run_id, "tags": checked_tags}


class UpdateRunMetadata(Request, frozen=True):
    """Set some keys of a run's metadata. The reply is its RunMetadata."""

    run: str | UUID
    metadata: Any

    EDGE: ClassVar = {"run": normalize_run_id, "metadata": edge.metadata}


class QueryRuns(Request, frozen=True):
    """Find the runs that match every filter. The reply is the list of their RunMetadata, in order of creation."""

    status: RunStatusName | None = None
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
    """List runs. The reply is the list of their ids, in order of creation."""

    include_archived: bool = False
    limit: int | None = None

    EDGE: ClassVar = {"include_archived": bool, "limit": edge.limit}


class GetChildRuns(Request, frozen=True):
    """Find the runs created with this parent. The reply is the list of their RunMetadata."""

    run: str | UUID
    include_archived: bool = False
    limit: int | None = None

    EDGE: ClassVar = {"run": normalize_run_id, "include_archived": bool, "limit": edge.limit}


class GetRunStats(Request, frozen=True):
    """Count runs by status. The reply is the RunStats."""

    EDGE: ClassVar = {}
