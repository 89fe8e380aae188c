"""The types of arguments that must be one of a few names. Never run; see aio_types.py."""

from __future__ import annotations

import inmem
import inmem.aio
from inmem.messages import QueryRuns, UpdateRunStatus, Watch
from inmem.simulation import Simulation


def names(db: inmem.Database, durability: inmem.DurabilityName, isolation: inmem.IsolationName) -> None:
    """A name, a member of the enum, and a variable of the alias are accepted."""
    inmem.open("path", durability="interval", dispatcher="threads")
    inmem.spawn("path", durability=durability)
    db.begin("run", isolation="serializable")
    db.begin("run", isolation=inmem.Isolation.SERIALIZABLE)
    db.transaction("run", lambda txn: txn.get("k"), isolation=isolation)
    db.watch(primitive="kv")
    db.runs.query_runs(status="Failed")
    db.runs.query_runs(status=inmem.RunStatus.FAILED)
    db.runs.update_status("run", "Paused")
    db.runs.futures.update_status("run", inmem.RunStatus.PAUSED)
    QueryRuns("Active")


def mistakes(db: inmem.Database, simulation: Simulation) -> None:
    """Invalid names, which a type checker must report; otherwise it reports the comments as unused."""
    inmem.open("path", durability="fsync")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    inmem.open("path", dispatcher="thread")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    inmem.spawn("path", durability="fsync")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    inmem.aio.open("path", durability="fsync")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    simulation.open(durability="fsync")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    db.begin("run", isolation="serialisable")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    db.transaction("run", print, isolation="none")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    db.watch(primitive="event")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    db.runs.query_runs(status="failed")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    db.runs.update_status("run", "Done")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    db.runs.futures.query_runs(status="failed")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    UpdateRunStatus("run", "Done")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Watch(db, primitive="event")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def asynchronous(db: inmem.aio.Database) -> None:
    """The same in `inmem.aio`."""
    db.begin("run", isolation="serialisable")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await db.transaction("run", print, isolation="no")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await db.runs.query_runs(status="failed")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    db.watch(primitive="event")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
