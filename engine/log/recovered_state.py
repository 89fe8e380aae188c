"""The state that a recovery builds: a checkpoint, then every later commit in log order.

Versions are taken as recorded and commits are not validated again, so recovering twice, or on another machine, gives
the identical state.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inmem.engine.errors import InvariantError
from inmem.engine.keys import shard_of
from inmem.engine.log.log_records import CommitRecord, TableWrites
from inmem.engine.outcomes import OUTCOMES_MAX
from inmem.engine.retained_commits import RetainedCommits
from inmem.engine.tables.entry import stored_entry, version_of
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from inmem.engine.log.checkpoint_format import CheckpointReader
    from inmem.engine.log.recovery_progress import Meter
    from inmem.engine.tables.entry import StoredEntry
    from inmem.engine.tables.snapshot import Root, TableId


@dataclass(frozen=True, slots=True)
class Recovered:
    """The state that the files prove.

    Attributes:
        version: the version of the last commit; the next commit's version is higher.
        transaction_id_max: greatest transaction id used so far.
        time_floor_us: latest time that the files prove to have been used, in microseconds since the epoch.
        roots: one per shard; each run's tables are in the shard that `shard_of` returns.
        outcomes: (salt, transaction id) → version of the newest commits, ordered by version.
        outcomes_since: every commit after this version is in `outcomes`; a commit that is not there did not happen.
        commits: the number of commits replayed from the log.
        keys: the number of live keys, expired ones included.
        last_drop_version: the version of the last replayed commit that dropped a run, 0 if there is none.
        retained: the newest commits of the log, for watchers.
    """

    version: int
    transaction_id_max: int
    time_floor_us: int
    roots: tuple[Root, ...]
    outcomes: dict[tuple[int, int], int]
    outcomes_since: int
    commits: int
    keys: int
    last_drop_version: int = 0
    retained: RetainedCommits = field(default_factory=lambda: RetainedCommits(0), compare=False)

    @classmethod
    def nothing(cls, shards: int) -> Self:
        """Return the state of a store to which nothing was ever written."""
        return cls(
            version=0,
            transaction_id_max=0,
            time_floor_us=0,
            roots=Snapshot.empty(shards).roots,
            outcomes={},
            outcomes_since=0,
            commits=0,
            keys=0,
        )


class Recovery:
    """Applies a checkpoint and commits to a state, kept in plain dicts until `result` turns it into tables.

    Attributes:
        version: the version of the last commit applied.
        commits: the number of commits applied.
        retained: the newest commits applied.
    """

    def __init__(self) -> None:
        self.version = 0
        self.retained = RetainedCommits(0)
        self.commits = 0
        self._transaction_id_max = 0
        self._time_floor_us = 0
        self._tables: dict[str, dict[int, dict[bytes, StoredEntry]]] = {}
        # One more than are kept in the result: the extra one is the newest commit whose outcome is no longer available.
        self._outcomes: deque[tuple[int, int, int]] = deque(maxlen=OUTCOMES_MAX + 1)
        self._outcomes_since = 0
        self._last_drop_version = 0

    def load_checkpoint(self, checkpoint: CheckpointReader, meter: Meter | None = None) -> None:
        """Load a checkpoint as the initial state. If it turns out to be damaged, discard this object. O(bytes).

        Raises:
            CorruptionError: the checkpoint is incomplete or altered.
        """
        for run, tag, entries in checkpoint:
            self._tables.setdefault(run, {}).setdefault(tag, {}).update(entries)
            if meter is not None and checkpoint.offset >= meter.due_at:
                meter.tell(checkpoint.offset, 0)
        header = checkpoint.header
        self.version = header.version
        self.retained = RetainedCommits(header.version)
        self._transaction_id_max = header.transaction_id_max
        self._time_floor_us = header.time_floor_us
        self._outcomes_since = header.outcomes_since
        for version, (salt, transaction_id) in sorted(
            (v, transaction) for transaction, v in checkpoint.outcomes.items()
        ):
            self._outcomes.append((version, salt, transaction_id))

    def apply(self, version: int, record: CommitRecord, salt: int) -> None:
        """Apply the next commit. O(its writes), and O(tables of the run) for a dropped run.

        Args:
            version: the version of the commit.
            record: the commit's log record.
            salt: the salt of the opening that wrote the commit.

        Raises:
            InvariantError: the version is not higher than those applied before.
        """
        if version <= self.version:
            raise InvariantError(f"version {version} is folded in after {self.version}")
        tables = self._tables
        transaction_id, timestamp_us, operations = record
        for operation in operations:
            if type(operation) is TableWrites:
                run, tag, writes = operation
                tables_of_run = tables.get(run)
                if tables_of_run is None:
                    tables_of_run = tables[run] = {}
                table = tables_of_run.get(tag)
                if table is None:
                    table = tables_of_run[tag] = {}
                for key, value, expires_at_us in writes:
                    table[key] = stored_entry(version, value, expires_at_us)
            else:
                tables.pop(operation.run, None)
                self._last_drop_version = version
        self.version = version
        self.commits += 1
        # Compared inline: two calls of max() would take a thirtieth of the recovery time.
        if transaction_id > self._transaction_id_max:  # noqa: PLR1730
            self._transaction_id_max = transaction_id
        if timestamp_us > self._time_floor_us:  # noqa: PLR1730
            self._time_floor_us = timestamp_us
        self._outcomes.append((version, salt, transaction_id))

    def apply_late(self, version: int, record: CommitRecord, salt: int) -> None:
        """Apply a commit although commits before it are missing: for each key the newest entry wins.

        Only for salvage. The result may be a state that the database never had.
        """
        tables = self._tables
        for operation in record.operations:
            if type(operation) is TableWrites:
                run, tag, writes = operation
                self.merge(run, tag, [(key, stored_entry(version, value, expiry)) for key, value, expiry in writes])
            else:
                for entries in tables.get(operation.run, {}).values():
                    for key in [key for key, stored in entries.items() if version_of(stored) < version]:
                        del entries[key]
        self.version = max(self.version, version)
        self.commits += 1
        self.note_ids(record)
        self._outcomes.append((version, salt, record.transaction_id))

    def merge(self, run: str, tag: int, entries: Iterable[tuple[bytes, StoredEntry]]) -> None:
        """Add entries, except those for whose keys a newer one is known. Only for salvage."""
        table = self._tables.setdefault(run, {}).setdefault(tag, {})
        for key, stored in entries:
            version = version_of(stored)
            # A commit may write a key twice; its later operation wins.
            if version_of(table.get(key)) <= version:
                table[key] = stored
            self.version = max(self.version, version)

    def note_time(self, time_us: int) -> None:
        """Make sure that the store's time continues after `time_us`, in microseconds since the epoch."""
        self._time_floor_us = max(self._time_floor_us, time_us)

    def note_ids(self, record: CommitRecord) -> None:
        """Make sure that new ids and times are after those of a commit, even if the commit is not applied."""
        self._transaction_id_max = max(self._transaction_id_max, record.transaction_id)
        self._time_floor_us = max(self._time_floor_us, record.timestamp_us)

    def forget_outcomes_up_to(self, version: int) -> None:
        """Give no outcome for missing commits up to `version`: they may have happened and been lost."""
        self._outcomes_since = max(self._outcomes_since, version)

    def result(self, shards: int) -> Recovered:
        """Return the state, with immutable tables split among `shards`. O(n) for tables written in key order."""
        self.retained.advance(self.version)
        outcomes = list(self._outcomes)
        if len(outcomes) > OUTCOMES_MAX:
            self.forget_outcomes_up_to(outcomes.pop(0)[0])
        roots: list[dict[TableId, Table]] = [{} for _ in range(shards)]
        keys = 0
        for run, tables_of_run in self._tables.items():
            root = roots[shard_of(run, shards)]
            for tag, entries in tables_of_run.items():
                if entries:
                    table = root[run, tag] = Table.build(entries)
                    keys += table.live_count
        return Recovered(
            version=self.version,
            transaction_id_max=self._transaction_id_max,
            time_floor_us=self._time_floor_us,
            roots=tuple(map(persistent, roots)),
            outcomes={(salt, transaction_id): version for version, salt, transaction_id in outcomes},
            outcomes_since=self._outcomes_since,
            commits=self.commits,
            keys=keys,
            last_drop_version=self._last_drop_version,
            retained=self.retained,
        )
