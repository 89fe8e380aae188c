"""Every structure's own invariants, every chain of events, and every index against what it indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.engine.errors import InmemError
from inmem.engine.keys import Tag
from inmem.engine.transaction import Transaction
from inmem.primitives.events import EventOperations
from inmem.primitives.runs import RunOperations
from inmem.primitives.traces import TraceOperations
from inmem.simulation.promises import BrokenPromise

if TYPE_CHECKING:
    from inmem.engine.snapshot import Snapshot


class _NoEntropy:
    """For a transaction that only reads."""

    def bits(self, count: int) -> int:
        """Nobody asks."""
        raise NotImplementedError

    def uniform(self) -> float:
        """Nobody asks."""
        raise NotImplementedError


def check_store(snapshot: Snapshot) -> None:
    """Check tables, event chains and indices. O(everything).

    Raises:
        BrokenPromise: something does not hold.
    """
    txn = Transaction(0, snapshot, 0, _NoEntropy())
    try:
        snapshot.check()
        for run, tag, _ in snapshot.tables():
            if tag == Tag.EVENT:
                EventOperations(txn, run).check()
            elif tag == Tag.TRACE:
                TraceOperations(txn, run).check()
        RunOperations(txn).check()
    except InmemError as error:
        raise BrokenPromise(str(error)) from error
