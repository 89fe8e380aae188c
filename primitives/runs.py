"""RunIndex: which runs exist, their status, and who started whom.

A run is stored as a record (run_record.py) under the empty key of its own RUN table, so deleting the run's data deletes
the record too. The index entries (run_index.py) are written in the same transactions, but lie outside any run.

The index covers runs registered with `create_run`; the other primitives neither need it nor consult it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from inmem.engine.codec import decode_value
from inmem.engine.errors import InvariantError, RunExistsError, RunNotFoundError, UsageError
from inmem.engine.keys import Tag, normalize_run_id
from inmem.engine.noncopyable import NonCopyable
from inmem.primitives.index_key import position_of, time_bound, time_of
from inmem.primitives.labels import checked_error, checked_tags, encoded_metadata, encoded_new_metadata
from inmem.primitives.paging import at_most
from inmem.primitives.result import Result
from inmem.primitives.run_index import RunEntries, suffix_of, update_entries
from inmem.primitives.run_record import RUN_KEY, RunRecord, unpack_run
from inmem.primitives.run_status import FINISHED, RunStatus, check_transition, status_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from inmem.engine.commits.transaction import Transaction
    from inmem.primitives.run_status import RunStatusName


class RunMetadata(Result, frozen=True):
    """The metadata of a registered run. Times are in microseconds since the epoch.

    Attributes:
        run_id: its id.
        parent_run: the run that started it, or None. It still names a parent that has been deleted.
        status: its current status.
        created_at: when it was registered.
        updated_at: when status, tags or metadata last changed; never decreases.
        completed_at: when it was completed, failed or cancelled, or None.
        tags: in the given order, without duplicates.
        metadata: a fresh dict, empty if none was given.
        error: the reason given to `fail_run`, or None.
    """

    run_id: str
    parent_run: str | None
    status: RunStatus
    created_at: int
    updated_at: int
    completed_at: int | None
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    error: str | None


@dataclass(frozen=True, slots=True)
class RunStats:
    """The number of registered runs by status, all from one snapshot.

    Attributes:
        total_runs: runs of any status.
        active_runs: runs that are Active.
        completed_runs: runs that are Completed.
        failed_runs: runs that are Failed.
        cancelled_runs: runs that are Cancelled.
        paused_runs: runs that are Paused.
        archived_runs: runs that are Archived.
    """

    total_runs: int
    active_runs: int
    completed_runs: int
    failed_runs: int
    cancelled_runs: int
    paused_runs: int
    archived_runs: int


class RunOperations(NonCopyable):
    """The RunIndex, inside one transaction. Run ids are str or uuid.UUID.

    Every change reads the run first, and `create_run` also reads the parent. So a change conflicts with concurrent
    changes to these runs, and never with changes to other runs.
    """

    __slots__ = ("_index", "_txn")

    def __init__(self, txn: Transaction) -> None:
        self._txn = txn
        self._index = RunEntries(txn)

    def __repr__(self) -> str:
        return f"<RunOperations of transaction {self._txn.id}>"

    def create_run(
        self,
        run_id: str | UUID | None = None,
        *,
        parent: str | UUID | None = None,
        tags: Iterable[str] = (),
        metadata: object = None,
    ) -> RunMetadata:
        """Register a run with status Active, and return its metadata.

        Data that the run already holds is kept. A child is independent of its parent: only `get_child_runs` and
        `query_runs` use the relation.

        Args:
            run_id: None generates a time-ordered id.
            parent: a registered run, in any status.
            tags: any strings; duplicates are dropped.
            metadata: a dict of storable values.

        Raises:
            RunExistsError: the run is already registered.
            RunNotFoundError: the parent is not registered.
            InvalidKeyError, InvalidValueError: an argument is invalid; nothing was changed.
        """
        name = self._txn.new_id() if run_id is None else normalize_run_id(run_id)
        parent_name = None if parent is None else normalize_run_id(parent)
        checked = checked_tags(tags)
        metadata_data = encoded_new_metadata(metadata, self._txn.limits.value_bytes_max)
        if parent_name is not None:
            self._load(parent_name)
        if self._stored(name) is not None:
            raise RunExistsError(name)
        now_us = self._txn.now_us
        position = position_of(self._txn)
        record = RunRecord(position, parent_name, RunStatus.ACTIVE, now_us, None, checked, metadata_data, None)
        return self._store(name, None, record)

    def get_run(self, run_id: str | UUID) -> RunMetadata | None:
        """Return the run's metadata, or None if the run is not registered. O(1)."""
        name = normalize_run_id(run_id)
        record = self._stored(name)
        return None if record is None else metadata_of(name, record)

    def update_status(self, run_id: str | UUID, status: RunStatusName) -> RunMetadata:
        """Move the run to `status` and return its new metadata.

        Raises:
            InvalidStatusTransitionError: the current status does not allow it (docs/primitives/runs.md).
            RunNotFoundError: the run is not registered.
            UsageError: `status` is not a run status.
        """
        return self._move(run_id, status_of(status))

    def complete_run(self, run_id: str | UUID) -> RunMetadata:
        """Move the run to Completed. See `update_status`."""
        return self._move(run_id, RunStatus.COMPLETED)

    def fail_run(self, run_id: str | UUID, error: str) -> RunMetadata:
        """Move the run to Failed and store the reason, `error`. See `update_status`."""
        return self._move(run_id, RunStatus.FAILED, checked_error(error, self._txn.limits.value_bytes_max))

    def cancel_run(self, run_id: str | UUID) -> RunMetadata:
        """Move the run to Cancelled. See `update_status`."""
        return self._move(run_id, RunStatus.CANCELLED)

    def pause_run(self, run_id: str | UUID) -> RunMetadata:
        """Move the run to Paused. See `update_status`."""
        return self._move(run_id, RunStatus.PAUSED)

    def resume_run(self, run_id: str | UUID) -> RunMetadata:
        """Move a Paused run back to Active. See `update_status`."""
        return self._move(run_id, RunStatus.ACTIVE)

    def archive_run(self, run_id: str | UUID) -> RunMetadata:
        """Move the run to Archived, permanently: still readable, but not in default queries. See `update_status`."""
        return self._move(run_id, RunStatus.ARCHIVED)

    def delete_run(self, run_id: str | UUID) -> None:
        """Remove the run, all its data in all primitives and its index entries, in this commit. O(tags).

        Children stay, and their `parent_run` still names the deleted run. A transaction that began before the commit
        and touched the run conflicts. The id may be used again.

        Raises:
            RunNotFoundError: the run is not registered.
        """
        name = normalize_run_id(run_id)
        record = self._load(name)
        update_entries(self._index.entries_of(name, record), {})
        self._txn.drop_run(name)

    def add_tags(self, run_id: str | UUID, tags: Iterable[str]) -> RunMetadata:
        """Add tags to the run, in any status; existing tags keep their places.

        Raises:
            RunNotFoundError: the run is not registered.
            InvalidKeyError: a tag is not a valid key.
        """
        name = normalize_run_id(run_id)
        added = checked_tags(tags)
        record = self._load(name)
        return self._change(name, record, replace(record, tags=checked_tags((*record.tags, *added))))

    def remove_tags(self, run_id: str | UUID, tags: Iterable[str]) -> RunMetadata:
        """Remove tags from the run, in any status; those that it does not have are ignored.

        Raises:
            RunNotFoundError: the run is not registered.
            InvalidKeyError: a tag is not a valid key.
        """
        name = normalize_run_id(run_id)
        removed = frozenset(checked_tags(tags))
        record = self._load(name)
        return self._change(name, record, replace(record, tags=tuple(tag for tag in record.tags if tag not in removed)))

    def update_metadata(self, run_id: str | UUID, metadata: object) -> RunMetadata:
        """Set the keys of the dict `metadata` in the run's metadata, in any status; other keys are kept.

        Raises:
            RunNotFoundError: the run is not registered.
            InvalidValueError: `metadata` is not a dict, or contains a value that cannot be stored.
        """
        name = normalize_run_id(run_id)
        new: Any = decode_value(encoded_metadata(metadata, self._txn.limits.value_bytes_max))
        record = self._load(name)
        old: Any = decode_value(record.metadata)
        return self._change(
            name, record, replace(record, metadata=encoded_metadata({**old, **new}, self._txn.limits.value_bytes_max))
        )

    def query_runs(
        self,
        status: RunStatusName | None = None,
        tags: Iterable[str] = (),
        created_after: int | None = None,
        created_before: int | None = None,
        parent: str | UUID | None = None,
        include_archived: bool = False,  # noqa: FBT001, FBT002  (the order is promised)
        limit: int | None = None,
        *,
        after: str | UUID | None = None,
        newest_first: bool = False,
    ) -> list[RunMetadata]:
        """Return the runs that match every filter, in order of creation.

        Args:
            status: exactly this status; Archived includes archived runs.
            tags: all of these tags.
            created_after: created at this time or later, in microseconds.
            created_before: created before this time, in microseconds.
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
        creation window. Without these three filters, O(1) per run in the window. Deleted index entries that are
        skipped count too. Archived runs found by tags or parent alone are read, then left out.
        """
        wanted = None if status is None else status_of(status)
        low = b"" if created_after is None else time_bound(created_after, "created_after")
        high = None if created_before is None else time_bound(created_before, "created_before")
        parent_name = None if parent is None else normalize_run_id(parent)
        if after is not None:
            name = normalize_run_id(after)
            suffix = suffix_of(self._load(name).position, name)
            if newest_first:
                high = suffix if high is None else min(high, suffix)
            else:
                low = max(low, suffix + b"\x00")
        names = self._index.select(
            wanted,
            checked_tags(tags),
            parent_name,
            low,
            high,
            include_archived=include_archived,
            newest_first=newest_first,
        )
        runs = (metadata_of(name, self._load(name)) for name in names)
        if wanted is None and not include_archived:
            runs = (run for run in runs if run.status is not RunStatus.ARCHIVED)
        return at_most(runs, limit)

    def list_runs(
        self,
        include_archived: bool = False,  # noqa: FBT001, FBT002  (the order is promised)
        limit: int | None = None,
    ) -> list[str]:
        """Return the ids of the runs in order of creation, by default without archived ones. O(1) per run."""
        return at_most(self._index.select(include_archived=include_archived), limit)

    def get_child_runs(
        self, run_id: str | UUID, *, include_archived: bool = False, limit: int | None = None
    ) -> list[RunMetadata]:
        """Return the runs created with this parent, even if it no longer exists. See `query_runs`."""
        return self.query_runs(parent=normalize_run_id(run_id), include_archived=include_archived, limit=limit)

    def get_stats(self) -> RunStats:
        """Return the number of runs by status. O(index entries written in this transaction).

        No run counts as read: only a serializable transaction conflicts with changes to these numbers.
        """
        counts = {status: self._index.count(status) for status in RunStatus}
        return RunStats(sum(counts.values()), **{f"{status.lower()}_runs": count for status, count in counts.items()})

    def check(self) -> None:
        """Raise InvariantError unless the index entries are exactly those of the runs that they name. O(n log n)."""
        expected: dict[tuple[Any, bytes], None] = {}
        for name in self._index.select():
            expected |= self._index.entries_of(name, self._load(name))
        views = [self._index.of_status(status).view for status in RunStatus]
        views.append(self._index.of_tag("").view)
        found = {(view, key): None for view in views for key, _ in view.scan()}
        if found != expected:
            raise InvariantError("the run index does not agree with the runs")

    def _move(self, run_id: str | UUID, status: RunStatus, error: str | None = None) -> RunMetadata:
        name = normalize_run_id(run_id)
        record = self._load(name)
        check_transition(name, record.status, status)
        completed_at = self._now_us(record) if status in FINISHED else record.completed_at
        changed = replace(record, status=status, completed_at=completed_at)
        return self._change(name, record, changed if error is None else replace(changed, error=error))

    def _change(self, name: str, old: RunRecord, new: RunRecord) -> RunMetadata:
        if new == old:
            return metadata_of(name, old)
        return self._store(name, old, replace(new, updated_at=self._now_us(old)))

    def _now_us(self, record: RunRecord) -> int:
        return max(self._txn.now_us, record.updated_at)

    def _stored(self, name: str) -> RunRecord | None:
        data = self._txn.view(name, Tag.RUN).get(RUN_KEY)
        return None if data is None else unpack_run(data)

    def _load(self, name: str) -> RunRecord:
        record = self._stored(name)
        if record is None:
            raise RunNotFoundError(name, holds_data=self._holds_data(name))
        return record

    def _holds_data(self, name: str) -> bool:
        # Used only to word an error, so it does not count as a read.
        tables = (self._txn.snapshot.table(name, tag) for tag in (Tag.KV, Tag.EVENT, Tag.STATE, Tag.TRACE))
        return any(table is not None and table.live_count for table in tables)

    def _store(self, name: str, old: RunRecord | None, new: RunRecord) -> RunMetadata:
        self._index.store(name, old, new)
        return metadata_of(name, new)


def metadata_of(name: str, record: RunRecord) -> RunMetadata:
    """Return the metadata of the run stored in `record`."""
    metadata: Any = decode_value(record.metadata)
    return RunMetadata(
        name,
        record.parent,
        record.status,
        time_of(record.position),
        record.updated_at,
        record.completed_at,
        record.tags,
        metadata,
        record.error,
    )


def check_history(run: RunMetadata) -> None:
    """Raise UsageError unless the operations of RunIndex could have produced this metadata.

    Raises:
        UsageError: they could not; the message names the field.
    """
    is_archived = run.status is RunStatus.ARCHIVED
    has_finished = run.status in FINISHED or (is_archived and run.completed_at is not None)
    may_have_failed = run.status is RunStatus.FAILED or (is_archived and has_finished)
    ended_at = run.updated_at if run.completed_at is None else run.completed_at
    end = "a time" if has_finished else "None"
    for field, is_possible, fault in (
        ("parent_run", run.parent_run != run.run_id, "is the run itself"),
        ("updated_at", run.created_at <= run.updated_at, "is before created_at"),
        ("completed_at", run.created_at <= ended_at <= run.updated_at, "is not between created_at and updated_at"),
        ("completed_at", has_finished == (run.completed_at is not None), f"must be {end}, as the run is {run.status}"),
        ("error", run.error is None or may_have_failed, f"must be None, as the run is {run.status}"),
    ):
        if not is_possible:
            raise UsageError(f"{field}: {fault}")
