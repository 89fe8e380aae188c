"""The RunIndex actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.messages.runs import (
    AddRunTags,
    ArchiveRun,
    CancelRun,
    CompleteRun,
    CreateRun,
    DeleteRun,
    FailRun,
    GetChildRuns,
    GetRun,
    GetRunStats,
    ListRuns,
    PauseRun,
    QueryRuns,
    RemoveRunTags,
    ResumeRun,
    UpdateRunMetadata,
    UpdateRunStatus,
)
from inmem.actors.requests.primitive_actor import PrimitiveActor
from inmem.engine.errors import InvariantError
from inmem.primitives.runs import RunOperations

if TYPE_CHECKING:
    from inmem.engine.commits.transaction import Transaction


class RunActor(PrimitiveActor):
    """Carries out RunIndex requests."""

    HANDLES = (
        CreateRun,
        GetRun,
        UpdateRunStatus,
        CompleteRun,
        FailRun,
        CancelRun,
        PauseRun,
        ResumeRun,
        ArchiveRun,
        DeleteRun,
        AddRunTags,
        RemoveRunTags,
        UpdateRunMetadata,
        QueryRuns,
        ListRuns,
        GetChildRuns,
        GetRunStats,
    )

    def perform(self, txn: Transaction, message: Any) -> Any:
        """Carry out one request."""
        runs = RunOperations(txn)
        match message:
            case CreateRun(run, parent, tags, metadata):
                return runs.create_run(run, parent=parent, tags=tags, metadata=metadata)
            case GetRun(run):
                return runs.get_run(run)
            case UpdateRunStatus(run, status):
                return runs.update_status(run, status)
            case CompleteRun(run):
                return runs.complete_run(run)
            case FailRun(run, error):
                return runs.fail_run(run, error)
            case CancelRun(run):
                return runs.cancel_run(run)
            case PauseRun(run):
                return runs.pause_run(run)
            case ResumeRun(run):
                return runs.resume_run(run)
            case ArchiveRun(run):
                return runs.archive_run(run)
            case DeleteRun(run):
                return runs.delete_run(run)
            case AddRunTags(run, tags):
                return runs.add_tags(run, tags)
            case RemoveRunTags(run, tags):
                return runs.remove_tags(run, tags)
            case UpdateRunMetadata(run, metadata):
                return runs.update_metadata(run, metadata)
            case QueryRuns(
                status, tags, created_after, created_before, parent, include_archived, limit, after, newest_first
            ):
                return runs.query_runs(
                    status=status,
                    tags=tags,
                    created_after=created_after,
                    created_before=created_before,
                    parent=parent,
                    include_archived=include_archived,
                    limit=limit,
                    after=after,
                    newest_first=newest_first,
                )
            case ListRuns(include_archived, limit):
                return runs.list_runs(include_archived=include_archived, limit=limit)
            case GetChildRuns(run, include_archived, limit):
                return runs.get_child_runs(run, include_archived=include_archived, limit=limit)
            case GetRunStats():
                return runs.get_stats()
            case _:
                raise InvariantError(f"the RunIndex cannot handle {type(message).__name__}")
