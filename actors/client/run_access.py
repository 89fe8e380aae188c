"""The five primitives of one run, inside one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.engine.noncopyable import NonCopyable
from inmem.primitives.cells import CellOperations
from inmem.primitives.events import EventOperations
from inmem.primitives.kv import KVOperations
from inmem.primitives.run_contents import RunContents
from inmem.primitives.runs import RunOperations
from inmem.primitives.traces import TraceOperations

if TYPE_CHECKING:
    from inmem.actors.client.client import Client
    from inmem.engine.commits.transaction import Transaction as EngineTransaction


class RunAccess(NonCopyable):
    """The five primitives of one run inside one transaction: `kv`, `events`, `cells`, `traces`, and `runs`.

    Taking an accessor raises `DatabaseClosedError` once the store is closed, and `ForkedProcessError` in a forked
    child. An accessor taken earlier still reads the snapshot and takes writes, but nothing can be committed any more. A
    check at every read would slow all of them down, and the snapshot does not change.

    Attributes:
        run_id: the run that the accessors read and write.
    """

    __slots__ = ("_cells", "_client", "_engine", "_events", "_kv", "_runs", "_traces", "run_id")

    def __init__(self, client: Client, engine: EngineTransaction, run_id: str) -> None:
        self._client = client
        self._engine = engine
        self.run_id = run_id
        self._kv: KVOperations | None = None
        self._events: EventOperations | None = None
        self._cells: CellOperations | None = None
        self._traces: TraceOperations | None = None
        self._runs: RunOperations | None = None

    def __repr__(self) -> str:
        return f"<RunAccess to run {self.run_id!r} of {self._client.directory.path!r}>"

    @property
    def kv(self) -> KVOperations:
        """The run's KVStore."""
        self._client.require_store()
        if self._kv is None:
            self._kv = KVOperations(self._engine, self.run_id)
        return self._kv

    @property
    def events(self) -> EventOperations:
        """The run's EventLog."""
        self._client.require_store()
        if self._events is None:
            self._events = EventOperations(self._engine, self.run_id)
        return self._events

    @property
    def cells(self) -> CellOperations:
        """The run's StateCells."""
        self._client.require_store()
        if self._cells is None:
            self._cells = CellOperations(self._engine, self.run_id)
        return self._cells

    @property
    def traces(self) -> TraceOperations:
        """The run's TraceStore."""
        self._client.require_store()
        if self._traces is None:
            self._traces = TraceOperations(self._engine, self.run_id)
        return self._traces

    @property
    def runs(self) -> RunOperations:
        """The RunIndex, which spans all runs."""
        self._client.require_store()
        if self._runs is None:
            self._runs = RunOperations(self._engine)
        return self._runs

    @property
    def contents(self) -> RunContents:
        """Everything the run holds, item by item, for other parts of the package such as export, not for programs."""
        self._client.require_store()
        return RunContents(self._engine, self.run_id)
