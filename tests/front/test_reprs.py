"""What a debugger shows of handles: which database they are of and which run, how they stand, and no values."""

import asyncio

import inmem
import inmem.aio
from inmem.engine.shown import shown
from tests.hostile import Nothing

PRIMITIVES = {"kv": "KVStore", "events": "EventLog", "cells": "StateCell", "traces": "TraceStore", "runs": "RunIndex"}


def test_handles_and_proxies_name_their_database(tmp_path):
    path = str(tmp_path / "db")
    ref = inmem.spawn(path)
    assert repr(ref) == f"<ActorRef for supervisor of {path!r} ({ref.actor_urn})>"
    with inmem.connect(ref) as db:
        for name, kind in PRIMITIVES.items():
            proxy = getattr(db, name)
            assert repr(proxy) == f"<inmem.{kind} of {path!r}>"
            assert repr(proxy.futures) == f"<inmem.{kind}Futures of {path!r}>"
        assert repr(db.kv.mapping("r")) == f"<KVMapping of run 'r' of {path!r}>"
        with inmem.open(path, read_only=True) as reader:
            assert repr(reader) == f"<inmem.Database {path!r}, read-only>"
        assert repr(reader) == f"<inmem.Database {path!r}, closed>"
    ref.stop()
    assert repr(db.kv) == f"<inmem.KVStore of {path!r}>"


def test_what_a_transaction_gives_names_its_run():
    with inmem.open(":memory:") as db, db.begin("r") as txn:
        txn.kv.put("key", "secret")
        assert repr(txn.on("other")) == "<RunAccess to run 'other' of ':memory:'>"
        for access, run in ((txn, "r"), (txn.on("other"), "other")):
            for name in ("kv", "events", "cells", "traces"):
                kind = PRIMITIVES[name].removesuffix("Store").removesuffix("Log").removeprefix("State")
                assert repr(getattr(access, name)) == f"<{kind}Operations of run {run!r}>"
            assert repr(access.contents) == f"<RunContents of run {run!r}>"
        assert repr(db.kv._read("r")) == "<KVOperations of run 'r'>", "outside a transaction, too"
        assert repr(txn.runs) == f"<RunOperations of transaction {txn.id}>"


def test_what_is_to_be_awaited_names_what_it_is_of(tmp_path):
    path = str(tmp_path / "db")

    async def main():
        opening = inmem.aio.open("db")
        assert repr(opening) == "<inmem.aio: open of 'db', to be awaited>"
        # It is shown before it is looked at.
        assert repr(inmem.aio.open(Nothing())).startswith("<inmem.aio: open of ")
        async with inmem.aio.open(path) as db:
            for name, kind in PRIMITIVES.items():
                assert repr(getattr(db, name)) == f"<inmem.aio.{kind} of {path!r}>"
            beginning = db.begin("r")
            assert repr(beginning) == f"<inmem.aio: begin of {shown(db)}, to be awaited>"
            async with beginning:
                assert repr(beginning) == f"<inmem.aio: begin of {shown(db)}, used>"

    asyncio.run(main())
