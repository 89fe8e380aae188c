"""A store without actors or files: one shard, and commits that take effect at once."""

from collections.abc import Callable
from contextlib import contextmanager

from inmem.engine.commits.conflicts import Conflict
from inmem.engine.commits.part import Part
from inmem.engine.commits.shard import Refused, Shard
from inmem.engine.commits.transaction import Isolation, Transaction
from inmem.engine.errors import ConflictError
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table
from inmem.primitives.cells import CellOperations
from inmem.primitives.events import EventOperations
from inmem.primitives.kv import KVOperations
from inmem.primitives.runs import RunOperations
from inmem.primitives.traces import TraceOperations
from tests.engine.seeded_entropy import SeededEntropy


class Store:
    """A minimal database around the primitives."""

    def __init__(self) -> None:
        self.shard = Shard(persistent({}))
        self.version = 0
        self.now_us = 1_700_000_000_000_000
        self._entropy = SeededEntropy()
        self._last_id = 0

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(self.version, (self.shard.root,))

    def begin(self, isolation: Isolation = Isolation.SNAPSHOT) -> Transaction:
        self._last_id += 1
        return Transaction(self._last_id, self.snapshot, self.now_us, self._entropy, isolation)

    def commit(self, txn: Transaction) -> int:
        """Commit and return the version, or raise ConflictError."""
        request = txn.seal()
        verdict = self.shard.prepare(
            Part(
                request.transaction_id,
                request.start_version,
                request.slices,
                request.dropped_runs,
                request.judges_drops,
            )
        )
        if isinstance(verdict, Refused):
            raise ConflictError(verdict.conflicts)
        if any(part.writes for part in request.slices) or request.dropped_runs:
            self.version += 1
        self.shard.apply(request.transaction_id, self.version)
        return self.version

    def conflicts(self, txn: Transaction) -> tuple[Conflict, ...]:
        """Commit, and return the conflicts, if any."""
        try:
            self.commit(txn)
        except ConflictError as error:
            return error.conflicts
        return ()

    @contextmanager
    def transaction(self):
        txn = self.begin()
        yield txn
        self.commit(txn)

    def do(self, work: Callable[[Transaction], object]):
        """Run `work` in its own transaction and return its result."""
        txn = self.begin()
        result = work(txn)
        self.commit(txn)
        return result

    def kv(self, run: str = "run", txn: Transaction | None = None) -> KVOperations:
        return KVOperations(txn or self.begin(), run)

    def events(self, run: str = "run", txn: Transaction | None = None) -> EventOperations:
        return EventOperations(txn or self.begin(), run)

    def cells(self, run: str = "run", txn: Transaction | None = None) -> CellOperations:
        return CellOperations(txn or self.begin(), run)

    def traces(self, run: str = "run", txn: Transaction | None = None) -> TraceOperations:
        return TraceOperations(txn or self.begin(), run)

    def runs(self, txn: Transaction | None = None) -> RunOperations:
        return RunOperations(txn or self.begin())

    def tamper(self, run: str, tag: int, key: bytes, value: bytes | None) -> None:
        """Change a stored entry behind the primitives' back; None removes the entry altogether."""
        tables = self.shard.root.as_dict()
        entries = tables[run, tag].as_dict()
        entries.pop(key, None)
        if value is not None:
            entries[key] = (self.version, value, 0)
        self.shard.root = persistent(tables | {(run, tag): Table.build(entries)})
