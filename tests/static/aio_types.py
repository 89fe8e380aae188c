"""The types of `inmem.aio` as type checkers see them. Never run: `make types` and `make pyright` check it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, assert_type

import inmem
import inmem.aio


async def database(store: inmem.Database) -> None:
    """Opening, connecting, and methods outside the primitives."""
    async with inmem.aio.open("path", durability="interval") as db:
        assert_type(db, inmem.aio.Database)
    async with inmem.aio.connect(store) as db:
        assert_type(db.version, int)
    db = await inmem.aio.open(":memory:")
    assert_type(await db.begin_run(tags=["t"]), str)
    assert_type(await db.put("run", "k", 1, ttl=2.0), int)
    assert_type(await db.get_versioned("run", "k"), inmem.VersionedValue | None)
    assert_type(await db.checkpoint(), int)
    assert_type(await db.stats(), inmem.Stats)
    assert_type(await db.verify(), inmem.Verification)
    assert_type(await db.outcome("token"), inmem.TransactionStatus)
    async for change in db.watch(primitive="kv"):
        assert_type(change, inmem.Change)


async def primitives(db: inmem.aio.Database) -> None:
    """Each method has the parameters and the result of the plain one."""
    assert_type(await db.kv.put("run", "k", object()), int)
    assert_type(await db.kv.get("run", "k"), Any)
    assert_type(await db.kv.get_many("run", ["k"]), dict[str, Any])
    assert_type(await db.kv.list("run", limit=3), list[str])
    assert_type(await db.kv.delete("run", key="k"), bool)
    assert_type(await db.events.append("run", "type", {"a": 1}), inmem.Event)
    assert_type(await db.events.read_range("run", 0, 9), list[inmem.Event])
    assert_type(await db.events.tail("run", 9), list[inmem.Event])
    assert_type(db.events.iter("run"), AsyncIterator[inmem.Event])
    assert_type(await db.events.verify_chain("run"), inmem.ChainVerification)
    assert_type(await db.cells.read("run", "c"), inmem.State | None)
    assert_type(await db.cells.cas("run", "c", 1, "v"), int)
    assert_type(await db.traces.record_with_options("run", inmem.Thought("t"), tags=["x"]), inmem.Trace)
    assert_type(await db.traces.get_tree("run", "id"), inmem.TraceTree)
    assert_type(await db.runs.create_run(parent="run"), inmem.RunMetadata)
    assert_type(await db.runs.query_runs(status="Active"), list[inmem.RunMetadata])
    await db.runs.delete_run("run")


async def transactions(db: inmem.aio.Database) -> None:
    """A function may be plain or async; a plain one may also be used with the plain database."""

    def plain(txn: inmem.BaseTransaction) -> str:
        return txn.traces.record(inmem.Thought("t")).id

    async def slow(txn: inmem.aio.Transaction) -> int:
        return txn.cells.set("c", 1)

    assert_type(await db.transaction("run", plain), str)
    assert_type(await db.transaction("run", slow, timeout=1.0), int)
    async with db.begin("run") as txn:
        assert_type(txn, inmem.aio.Transaction)
        assert_type(txn.kv.get("k"), Any)
    txn = await db.begin("run", isolation="serializable")
    assert_type(await txn.commit(), int)


async def mistakes(db: inmem.aio.Database) -> None:
    """Errors that a type checker must report; otherwise it reports the comments as unused."""
    await db.kv.put("run")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await db.kv.put("run", 5, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await db.cells.cas("run", "c", "1", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
