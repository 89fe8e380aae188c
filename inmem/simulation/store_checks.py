"""Every structure's own invariants, every chain, record and parent of a trace, and every index against its records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.engine.errors import InmemError
from inmem.primitives.indices import wrong_indices
from inmem.primitives.orphans import orphans
from inmem.primitives.unreadable import unreadable_records
from inmem.simulation.promises import BrokenPromise
from inmem.verification import verify_chains

if TYPE_CHECKING:
    from inmem.engine.snapshot import Snapshot


def check_store(snapshot: Snapshot) -> None:
    """Check what `Database.verify` checks, but for the files. O(everything).

    Raises:
        BrokenPromise: something does not hold.
    """
    try:
        snapshot.check()
        found = [f"run {run!r}: {chain.error}" for run, chain in verify_chains(snapshot).broken]
    except InmemError as error:
        raise BrokenPromise(str(error)) from error
    found += [f"run {run!r}: index table {tag} does not agree with the records" for run, tag in wrong_indices(snapshot)]
    found += [f"run {run!r}: {key!r} of table {tag}: {why}" for run, tag, key, why in unreadable_records(snapshot)]
    found += [
        f"run {run!r}: the parent {parent!r} of trace {trace!r} is lost" for run, trace, parent in orphans(snapshot)
    ]
    if found:
        raise BrokenPromise("; ".join(found))
