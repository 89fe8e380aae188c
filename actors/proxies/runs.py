"""`db.runs`: the RunIndex as a plain object."""

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
from inmem.actors.proxies.proxy import Proxy
from inmem.engine.ids import time_ordered_id
from inmem.primitives.runs import RunOperations

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pykka

    from inmem.actors.client.client import Client
    from inmem.actors.messages.request import Request
    from inmem.actors.proxies.kv import RunId
    from inmem.primitives.run_status import RunStatusName
    from inmem.primitives.runs import RunMetadata, RunStats


class RunIndex(Proxy):
    """Which runs exist, their status, and who started whom.

    The index covers runs registered with `create_run`; the other primitives neither need it nor consult it. Every call
    is its own transaction; reads use the newest committed state. Every method that changes a run returns its new
    RunMetadata; concurrent changes to one run all take effect, one after the other. See `Database` for the errors that
    any call may raise; an invalid run id raises InvalidKeyError.

    Attributes:
        futures: the same operations, each returning a `pykka.Future`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.futures = RunIndexFutures(client)

    def create_run(
        self,
        run_id: RunId | None = None,
        *,
        parent: RunId | None = None,
        tags: Iterable[str] = (),
        metadata: Any = None,
    ) -> RunMetadata:
        """Register a run durably (see `durability`) with status Active, and return its metadata.

        Data that the run already holds is kept. A child is independent of its parent: only `get_child_runs` and
        `query_runs` use the relation.

        Args:
            run_id: a str of at most 255 characters or a UUID; None generates a time-ordered id.
            parent: a registered run, in any status.
            tags: any strings; duplicates are dropped.
            metadata: a dict of storable values.

        Raises:
            RunExistsError: the run is already registered.
            RunNotFoundError: the parent is not registered.
            InvalidKeyError, InvalidValueError: an argument is invalid; nothing was changed.

        Complexity: O(log n) per tag.
        """
        return self._change(_create_run(self._client, run_id, parent, tags, metadata))

    def get_run(self, run_id: RunId) -> RunMetadata | None:
        """Return the run's metadata, or None if the run is not registered. O(1)."""
        return self._read().get_run(run_id)

    def update_status(self, run_id: RunId, status: RunStatusName) -> RunMetadata:
        """Move the run to `status` and return its new metadata.

        Raises:
            InvalidStatusTransitionError: the current status does not allow it (docs/primitives/runs.md).
            RunNotFoundError: the run is not registered.
            UsageError: `status` is not a run status.
        """
        return self._change(UpdateRunStatus(run_id, status))

    def complete_run(self, run_id: RunId) -> RunMetadata:
        """Move the run to Completed. See `update_status`."""
        return self._change(CompleteRun(run_id))

    def fail_run(self, run_id: RunId, error: str) -> RunMetadata:
        """Move the run to Failed and store the reason, `error`. See `update_status`.

        Raises:
            InvalidValueError: `error` is not a storable str.
        """
        return self._change(FailRun(run_id, error))

    def cancel_run(self, run_id: RunId) -> RunMetadata:
        """Move the run to Cancelled. See `update_status`."""
        return self._change(CancelRun(run_id))

    def pause_run(self, run_id: RunId) -> RunMetadata:
        """Move the run to Paused. See `update_status`."""
        return self._change(PauseRun(run_id))

    def resume_run(self, run_id: RunId) -> RunMetadata:
        """Move a Paused run back to Active. See `update_status`."""
        return self._change(ResumeRun(run_id))

    def archive_run(self, run_id: RunId) -> RunMetadata:
        """Move the run to Archived, permanently: still readable, but not in default queries. See `update_status`."""
        return self._change(ArchiveRun(run_id))

    def delete_run(self, run_id: RunId) -> None:
        """Remove the run, all its data in all primitives and its index entries, in one atomic commit.

        Children stay, and their `parent_run` still names the deleted run. A transaction that began earlier and touched
        the run conflicts, so no data is left behind in the run. The id may be used again.

        Raises:
            RunNotFoundError: the run is not registered.

        Complexity: O(tags), however much data the run holds.
        """
        self._client.ask(DeleteRun(run_id))

    def add_tags(self, run_id: RunId, tags: Iterable[str]) -> RunMetadata:
        """Add tags to the run, in any status; existing tags keep their places.

        Raises:
            RunNotFoundError: the run is not registered.
            InvalidKeyError: a tag is not a valid key.
        """
        return self._change(AddRunTags(run_id, tags))

    def remove_tags(self, run_id: RunId, tags: Iterable[str]) -> RunMetadata:
        """Remove tags from the run, whatever its status. Tags that the run does not have are ignored.

        Raises:
            RunNotFoundError: the run is not registered.
            InvalidKeyError: a tag could not be a key.
        """
        return self._change(RemoveRunTags(run_id, tags))

    def update_metadata(self, run_id: RunId, metadata: Any) -> RunMetadata:
        """Set the keys of the dict `metadata` in the run's metadata, in any status; other keys are kept.

        Raises:
            RunNotFoundError: the run is not registered.
            InvalidValueError: `metadata` is not a dict, or contains a value that cannot be stored.
        """
        return self._change(UpdateRunMetadata(run_id, metadata))

    def query_runs(
        self,
        status: RunStatusName | None = None,
        tags: Iterable[str] = (),
        created_after: int | None = None,
        created_before: int | None = None,
        parent: RunId | None = None,
        include_archived: bool = False,  # noqa: FBT001, FBT002  (the order is promised)
        limit: int | None = None,
        *,
        after: RunId | None = None,
        newest_first: bool = False,
    ) -> list[RunMetadata]:
        """Return the runs that match every filter, in order of creation, all from one snapshot.

        Args:
            status: exactly this status; Archived includes archived runs.
            tags: all of these tags.
            created_after: created at this time or later, in microseconds since the epoch.
            created_before: created before this time, in microseconds since the epoch.
            parent: children of this run, even if it no longer exists.
            include_archived: whether to include archived runs.
            limit: maximum number of runs; None means all.
            after: only runs that follow this one in the result order; pass the last run of a page to get the next
                page. It need not match the filters.
            newest_first: return runs in reverse order of creation.

        Raises:
            RunNotFoundError: the run `after` is not registered, or no longer.
            UsageError: a filter has the wrong type.

        Complexity: O(filters * log n) per run that matches the most selective of status, tags and parent, within the
        creation window. Without these three filters, O(1) per run in the window.
        """
        return self._read().query_runs(
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

    def list_runs(
        self,
        include_archived: bool = False,  # noqa: FBT001, FBT002  (the order is promised)
        limit: int | None = None,
    ) -> list[str]:
        """Return the ids of the runs in order of creation, by default without archived ones. O(1) per run.

        Args:
            include_archived: whether to include archived runs.
            limit: maximum number of ids; None means all.

        Raises:
            UsageError: `limit` is not a non-negative int.
        """
        return self._read().list_runs(include_archived=include_archived, limit=limit)

    def get_child_runs(
        self, run_id: RunId, *, include_archived: bool = False, limit: int | None = None
    ) -> list[RunMetadata]:
        """Return the runs created with this parent, even if it no longer exists. See `query_runs`."""
        return self._read().get_child_runs(run_id, include_archived=include_archived, limit=limit)

    def get_stats(self) -> RunStats:
        """Return the number of runs by status, all from one snapshot. O(1)."""
        return self._read().get_stats()

    def _change(self, request: Request) -> RunMetadata:
        run: RunMetadata = self._client.ask(request)
        return run

    def _read(self) -> RunOperations:
        return RunOperations(self._client.reader())


class RunIndexFutures(Proxy):
    """The same operations, each returning a `pykka.Future` at once. Requests from one thread are processed in order."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._send = client.send

    def create_run(
        self,
        run_id: RunId | None = None,
        *,
        parent: RunId | None = None,
        tags: Iterable[str] = (),
        metadata: Any = None,
    ) -> pykka.Future[RunMetadata]:
        """See `RunIndex.create_run`."""
        return self._send(_create_run(self._client, run_id, parent, tags, metadata))

    def get_run(self, run_id: RunId) -> pykka.Future[RunMetadata | None]:
        """See `RunIndex.get_run`."""
        return self._send(GetRun(run_id))

    def update_status(self, run_id: RunId, status: RunStatusName) -> pykka.Future[RunMetadata]:
        """See `RunIndex.update_status`."""
        return self._send(UpdateRunStatus(run_id, status))

    def complete_run(self, run_id: RunId) -> pykka.Future[RunMetadata]:
        """See `RunIndex.complete_run`."""
        return self._send(CompleteRun(run_id))

    def fail_run(self, run_id: RunId, error: str) -> pykka.Future[RunMetadata]:
        """See `RunIndex.fail_run`."""
        return self._send(FailRun(run_id, error))

    def cancel_run(self, run_id: RunId) -> pykka.Future[RunMetadata]:
        """See `RunIndex.cancel_run`."""
        return self._send(CancelRun(run_id))

    def pause_run(self, run_id: RunId) -> pykka.Future[RunMetadata]:
        """See `RunIndex.pause_run`."""
        return self._send(PauseRun(run_id))

    def resume_run(self, run_id: RunId) -> pykka.Future[RunMetadata]:
        """See `RunIndex.resume_run`."""
        return self._send(ResumeRun(run_id))

    def archive_run(self, run_id: RunId) -> pykka.Future[RunMetadata]:
        """See `RunIndex.archive_run`."""
        return self._send(ArchiveRun(run_id))

    def delete_run(self, run_id: RunId) -> pykka.Future[None]:
        """See `RunIndex.delete_run`."""
        return self._send(DeleteRun(run_id))

    def add_tags(self, run_id: RunId, tags: Iterable[str]) -> pykka.Future[RunMetadata]:
        """See `RunIndex.add_tags`."""
        return self._send(AddRunTags(run_id, tags))

    def remove_tags(self, run_id: RunId, tags: Iterable[str]) -> pykka.Future[RunMetadata]:
        """See `RunIndex.remove_tags`."""
        return self._send(RemoveRunTags(run_id, tags))

    def update_metadata(self, run_id: RunId, metadata: Any) -> pykka.Future[RunMetadata]:
        """See `RunIndex.update_metadata`."""
        return self._send(UpdateRunMetadata(run_id, metadata))

    def query_runs(
        self,
        status: RunStatusName | None = None,
        tags: Iterable[str] = (),
        created_after: int | None = None,
        created_before: int | None = None,
        parent: RunId | None = None,
        include_archived: bool = False,  # noqa: FBT001, FBT002  (the order is promised)
        limit: int | None = None,
        *,
        after: RunId | None = None,
        newest_first: bool = False,
    ) -> pykka.Future[list[RunMetadata]]:
        """See `RunIndex.query_runs`."""
        return self._send(
            QueryRuns(status, tags, created_after, created_before, parent, include_archived, limit, after, newest_first)
        )

    def list_runs(
        self,
        include_archived: bool = False,  # noqa: FBT001, FBT002  (the order is promised)
        limit: int | None = None,
    ) -> pykka.Future[list[str]]:
        """See `RunIndex.list_runs`."""
        return self._send(ListRuns(include_archived, limit))

    def get_child_runs(
        self, run_id: RunId, *, include_archived: bool = False, limit: int | None = None
    ) -> pykka.Future[list[RunMetadata]]:
        """See `RunIndex.get_child_runs`."""
        return self._send(GetChildRuns(run_id, include_archived, limit))

    def get_stats(self) -> pykka.Future[RunStats]:
        """See `RunIndex.get_stats`."""
        return self._send(GetRunStats())


def _create_run(
    client: Client, run_id: RunId | None, parent: RunId | None, tags: Iterable[str], metadata: Any
) -> CreateRun:
    """Return the request. A missing id is chosen here: if the request runs more than once, it creates only one run."""
    if run_id is None:
        run_id = time_ordered_id(client.directory.clock.now_us(), client.directory.entropy)
    return CreateRun(run_id, parent, tags, metadata)
