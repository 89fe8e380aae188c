"""Check every structure's invariants, every chain, record and trace's parent, and every index against its records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.engine.errors import InmemError
from inmem.simulation.promises import BrokenPromise
from inmem.verification import verify_state

if TYPE_CHECKING:
    from inmem.engine.tables.snapshot import Snapshot


def check_store(snapshot: Snapshot) -> None:
    """Check what `Database.verify` checks, except the files. O(everything).

    Raises:
        BrokenPromise: something does not hold.
    """
    try:
        state = verify_state(snapshot)
    except InmemError as error:
        raise BrokenPromise(str(error)) from error
    found = [f"run {run!r}: {chain.error}" for run, chain in state.broken_chains]
    found += [f"run {run!r}: index table {tag} does not agree with the records" for run, tag in state.wrong_indices]
    found += [f"run {run!r}: {key!r} of table {tag}: {why}" for run, tag, key, why in state.unreadable]
    found += [f"run {run!r}: the parent {parent!r} of trace {trace!r} is lost" for run, trace, parent in state.orphans]
    if found:
        raise BrokenPromise("; ".join(found))
