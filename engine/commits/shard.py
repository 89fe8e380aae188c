"""One storage shard: its applied tables, and the writes it has promised to apply.

For each transaction a shard first decides whether it may commit (`prepare`); then it either makes the transaction's
writes its newest state (`apply`) or discards them (`release`). In between, the writes are *prepared*: not visible to
any transaction, but no other transaction may commit in conflict with them.

A shard owns whole runs (`keys.shard_of`). It does no I/O and does not know of other shards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from inmem.engine.commits.conflicts import CasConflict, Conflict, ReadConflict, ScanConflict, WriteConflict
from inmem.engine.errors import InvariantError
from inmem.engine.keys import Key, Tag
from inmem.engine.tables.entry import version_of
from inmem.engine.tables.snapshot import tables_of, without_run
from inmem.engine.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.engine.commits.part import Part, Slice
    from inmem.engine.tables.snapshot import Root, TableId

DROPPED_RUNS_MAX = 10_000
"""How many deleted runs a shard remembers by name. A transaction that began before a forgotten deletion conflicts,
whatever it did in a run."""


class Prepared(Struct, frozen=True):
    """The part may commit, and its writes are reserved until `apply` or `release`."""


class Refused(Struct, frozen=True):
    """The part must not commit. Carries every conflict that it has on this shard."""

    conflicts: tuple[Conflict, ...]


class Blocked(Struct, frozen=True):
    """The verdict depends on transactions that are prepared but not yet decided: ask again when they are."""

    transaction_ids: frozenset[int]


Verdict = Prepared | Refused | Blocked

PREPARED = Prepared()


class Shard:
    """The tables of the runs that belong to one shard, at some version, and the writes prepared on top of them.

    Args:
        root: the tables to start with.
        forgotten_version: the shard does not know of runs deleted at or before this version. A transaction with an
            earlier snapshot conflicts, whatever it did in a run.
        first_version: the version of the initial state: no table in `root` is newer. An earlier snapshot may show
            commits lost in a restart.
    """

    __slots__ = (
        "_dropped_at",
        "_first_version",
        "_forgotten_version",
        "_newest_version",
        "_prepared",
        "_prepared_drops",
        "_prepared_keys",
        "_unreserved",
        "root",
    )

    def __init__(self, root: Root, forgotten_version: int = 0, first_version: int = 0) -> None:
        self.root = root
        self._prepared: dict[int, Part] = {}
        # The part that was prepared last. Its writes are reserved by key only when another part is judged while it is
        # still prepared, so never if no other commit is in flight.
        self._unreserved: Part | None = None
        self._prepared_keys: dict[tuple[str, int, bytes], int] = {}
        self._prepared_drops: dict[str, int] = {}
        # By run: the version at which it was deleted. Deleted runs leave no tombstones, so this is how a transaction
        # that began before the deletion is recognised.
        self._dropped_at: dict[str, int] = {}
        self._forgotten_version = forgotten_version
        self._first_version = first_version
        # The version of the newest commit that changed this shard. A transaction that began at it or later has seen all
        # there is.
        self._newest_version = max(first_version, forgotten_version)

    def prepare(self, part: Part) -> Verdict:
        """Judge a part against applied and prepared writes; reserve its writes if it has no conflict.

        All conflicts are collected. When the part touches a key that a prepared transaction writes, the verdict is
        `Blocked`, whatever other conflicts there may be: asking again once that transaction is decided finds them all.

        Complexity: O(its tables) if nothing is prepared, no commit has changed them since the snapshot, and the part
        has no compare-and-swap and no drop. Otherwise O(keys read, written and expected), plus the keys in those
        scanned ranges whose tables have changed. While anything is prepared, also O(all prepared keys) for each scanned
        range and each dropped run. The part's own keys are reserved once, in O(keys written), when the next part is
        judged and this one is still prepared.
        """
        if part.transaction_id in self._prepared:
            raise InvariantError(f"transaction {part.transaction_id} is prepared already")
        if self._prepared:
            if self._unreserved is not None:
                self._reserve(self._unreserved)
                self._unreserved = None
            blockers = frozenset(self._blockers(part))
            if blockers:
                return Blocked(blockers)
        if not self._is_unchanged(part):
            conflicts = tuple(self._conflicts(part))
            if conflicts:
                return Refused(conflicts)
        self._prepared[part.transaction_id] = part
        self._unreserved = part
        return PREPARED

    def release(self, transaction_id: int) -> None:
        """Discard a prepared part and its reservations. A no-op if the transaction is not prepared."""
        self._take(transaction_id)

    def apply(self, transaction_id: int, version: int) -> None:
        """Make a prepared part the newest state of this shard, at `version`."""
        part = self._take(transaction_id)
        if part is None:
            raise InvariantError(f"transaction {transaction_id} is applied without having been prepared")
        root = self.root
        for run in part.dropped_runs:
            root = without_run(root, run)
            self._note_dropped(run, version)
        # Reading `newest` directly is safe, as in `_conflicts`.
        stored_of = root.newest.get if root.past.state is None else root.stored
        replaced: dict[TableId, Table | None] = {}
        tables: dict[TableId, Table] = {}
        for part_slice in part.slices:
            if part_slice.writes:
                table_id = part_slice.table_id
                table = replaced[table_id] = stored_of(table_id)
                tables[table_id] = (Table.EMPTY if table is None else table).apply(part_slice.writes, version)
        self.root = root.changed(tables, replaced)
        self._newest_version = version

    def check(self) -> None:
        """Raise `InvariantError` unless the reservations are exactly those of the prepared parts. O(tables + keys)."""
        reserved = [part for part in self._prepared.values() if part is not self._unreserved]
        keys = {
            (*part_slice.table_id, write[0]): part.transaction_id
            for part in reserved
            for part_slice in part.slices
            for write in part_slice.writes
        }
        drops = {run: part.transaction_id for part in reserved for run in part.dropped_runs}
        if keys != self._prepared_keys or drops != self._prepared_drops:
            raise InvariantError("the reserved keys are not those of the prepared transactions")
        for table in self.root.as_dict().values():
            table.check()
            if table.last_version > self._newest_version:
                raise InvariantError(f"a table at version {table.last_version} in a shard at {self._newest_version}")

    def _blockers(self, part: Part) -> Iterator[int]:
        prepared_keys = self._prepared_keys
        prepared_drops = self._prepared_drops
        for part_slice in part.slices:
            run, tag = part_slice.table_id
            if run in prepared_drops:
                yield prepared_drops[run]
            for keyed in (part_slice.reads, part_slice.expected, part_slice.writes):
                for item in keyed:
                    blocker = prepared_keys.get((run, tag, item[0]))
                    if blocker is not None:
                        yield blocker
            for start, end in part_slice.scans:
                for (other_run, other_tag, key), blocker in prepared_keys.items():
                    if other_run == run and other_tag == tag and start <= key and (end is None or key < end):
                        yield blocker
        for run in part.dropped_runs:
            if run in prepared_drops:
                yield prepared_drops[run]
            for (other_run, _, _), blocker in prepared_keys.items():
                if other_run == run:
                    yield blocker

    def _is_unchanged(self, part: Part) -> bool:
        """Whether the part can be accepted without looking at its keys.

        True if none of its tables is newer than its snapshot, none of its runs was dropped since, and the part has no
        compare-and-swap and no drop.
        """
        start_version = part.start_version
        if start_version < self._first_version or part.dropped_runs:
            return False
        for part_slice in part.slices:
            if part_slice.expected:
                return False
        if start_version >= self._newest_version:
            return True
        root = self.root
        may_be_dropped = self._dropped_at or self._forgotten_version
        for part_slice in part.slices:
            table = root.stored(part_slice.table_id)
            if table is not None and table.last_version > start_version:
                return False
            if may_be_dropped and self._dropped_version(part_slice.run) > start_version:
                return False
        return True

    def _conflicts(self, part: Part) -> Iterator[Conflict]:
        start_version = part.start_version
        root = self.root
        for part_slice in part.slices:
            run, tag = part_slice.table_id
            if self._dropped_at or self._forgotten_version:
                dropped_at = self._dropped_version(run)
                if dropped_at > start_version:
                    yield from _conflicts_with_drop(part_slice, start_version, dropped_at)
                    continue
            table = root.stored(part_slice.table_id) or Table.EMPTY
            # Reading `newest` directly is safe: only this shard makes newer versions.
            stored_of = table.newest.get if table.past.state is None else table.stored
            for key, seen in part_slice.reads:
                stored = stored_of(key)
                # Until the key is written, its entry is the same object, except after a restart of the core: then it
                # is a different object with the same version.
                if stored is not seen and version_of(stored) != version_of(seen):
                    yield ReadConflict(Key(run, Tag(tag), key), version_of(seen), version_of(stored))
            if table.last_version > start_version:
                for key in part_slice.judged:
                    current = version_of(stored_of(key))
                    if current > start_version:
                        yield WriteConflict(Key(run, Tag(tag), key), start_version, current)
            for key, expected_version, after_drop in part_slice.expected:
                current = 0 if after_drop else version_of(stored_of(key))
                if current != expected_version:
                    yield CasConflict(Key(run, Tag(tag), key), expected_version, current)
            for start, end in part_slice.scans:
                changed = table.changed_since(start, end, start_version)
                if changed is not None:
                    prefix, found = Key(run, Tag(tag), start), Key(run, Tag(tag), changed)
                    yield ScanConflict(prefix, end, start_version, found, version_of(stored_of(changed)))
        for run in part.dropped_runs if part.judges_drops else ():
            changed_at = self._dropped_version(run)
            for table in tables_of(root, run).values():
                changed_at = max(changed_at, table.last_version)
            if changed_at > start_version:
                yield WriteConflict(Key.run(run), start_version, changed_at)

    def _dropped_version(self, run: str) -> int:
        # The tables under run id "", which span all runs, are never dropped.
        return self._dropped_at.get(run, self._forgotten_version) if run else 0

    def _note_dropped(self, run: str, version: int) -> None:
        self._dropped_at.pop(run, None)
        self._dropped_at[run] = version
        if len(self._dropped_at) > DROPPED_RUNS_MAX:
            oldest = next(iter(self._dropped_at))
            self._forgotten_version = self._dropped_at.pop(oldest)

    def _take(self, transaction_id: int) -> Part | None:
        """Remove a prepared part and its reservations, and return it; None if it was not prepared."""
        part = self._prepared.pop(transaction_id, None)
        if part is self._unreserved:
            self._unreserved = None
        elif part is not None:
            self._unreserve(part)
        return part

    def _reserve(self, part: Part) -> None:
        transaction_id = part.transaction_id
        for run in part.dropped_runs:
            self._prepared_drops[run] = transaction_id
        for part_slice in part.slices:
            run, tag = part_slice.table_id
            for key, _, _ in part_slice.writes:
                self._prepared_keys[run, tag, key] = transaction_id

    def _unreserve(self, part: Part) -> None:
        for run in part.dropped_runs:
            del self._prepared_drops[run]
        for part_slice in part.slices:
            run, tag = part_slice.table_id
            for key, _, _ in part_slice.writes:
                del self._prepared_keys[run, tag, key]


def _conflicts_with_drop(part_slice: Slice, start_version: int, dropped_at: int) -> Iterator[Conflict]:
    """Yield a conflict for everything done in a run deleted after the snapshot, including reads of absent keys."""
    run, tag = part_slice.run, Tag(part_slice.tag)
    for key, seen in part_slice.reads:
        yield ReadConflict(Key(run, tag, key), version_of(seen), dropped_at)
    for key in part_slice.judged:
        yield WriteConflict(Key(run, tag, key), start_version, dropped_at)
    for key, expected_version, _ in part_slice.expected:
        yield CasConflict(Key(run, tag, key), expected_version, dropped_at)
    for start, end in part_slice.scans:
        yield ScanConflict(Key(run, tag, start), end, start_version, Key.run(run), dropped_at)
