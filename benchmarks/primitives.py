"""The primitives: each alone through its proxy, all in one transaction, and many threads on one event log."""

from __future__ import annotations

import hashlib
import json
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import inmem
from benchmarks.contender import RUN, Doing, Inmem, increments, key_name, own_keys, puts
from benchmarks.measure import Figure, Result, Settings, Subject, Target, contest
from benchmarks.peers import CrowdedFile, DiskCache, Lmdb, Sqlite, SqliteSession, pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAYLOAD = {"tool": "search", "query": "weather in Bern", "attempt": 1}
THOUGHT = inmem.Thought("look at the forecast first", 0.8)
TAGS = ("plan", "weather")
CELLS = 1000
APPENDERS = 50


def _put(settings: Settings) -> Result:
    stores = (Inmem(), Inmem(dispatcher="threads"), Sqlite("NORMAL"), Lmdb(sync=False), DiskCache())
    return contest(settings, [Doing(store, puts) for store in stores])


def _append(settings: Settings) -> Result:
    return contest(settings, [Doing(store, _appends) for store in (Inmem(), Inmem(dispatcher="threads"))])


def _appends(store: Inmem, _: int, __: int) -> Callable[[], object]:
    events = store.db.events
    return lambda: events.append(RUN, "tool_call", PAYLOAD)


def _cas(settings: Settings) -> Result:
    return contest(settings, [Doing(store, _swaps) for store in (Inmem(), Inmem(dispatcher="threads"))])


def _swaps(store: Inmem, client: int, _: int) -> Callable[[], object]:
    cells = store.db.cells
    names = own_keys(client)
    versions = {key_name(number): cells.init(RUN, key_name(number), 0) for number in range(CELLS)}

    def swap() -> None:
        name = next(names)
        versions[name] = cells.cas(RUN, name, versions[name], "done")

    return swap


def _record(settings: Settings) -> Result:
    return contest(settings, [Doing(store, _records) for store in (Inmem(), Inmem(dispatcher="threads"))])


def _records(store: Inmem, _: int, __: int) -> Callable[[], object]:
    traces = store.db.traces
    return lambda: traces.record(RUN, THOUGHT)


class _SqliteAgent(Sqlite):
    """A hand-written schema for the same data, as an agent's author would make it."""

    def open(self, folder: Path) -> None:
        """Create the store with its tables, empty."""
        super().open(folder)
        self._sessions[0].connection.executescript(
            """
            create table event (run text, sequence integer, type text, payload blob, at_us integer,
                                previous blob, hash blob, primary key (run, sequence)) without rowid;
            create table cell (run text, name text, version integer, value blob, at_us integer,
                               primary key (run, name)) without rowid;
            create table trace (run text, id text, kind text, body blob, at_us integer,
                                primary key (run, id)) without rowid;
            create index trace_by_kind on trace (run, kind, at_us);
            create index trace_by_time on trace (run, at_us);
            create table trace_tag (run text, tag text, id text, primary key (run, tag, id)) without rowid;
            """
        )


def _agent_steps(session: SqliteSession, client: int, _: int) -> Callable[[], object]:
    """Return one step of an agent in sqlite: key, hashed event, cell, trace with its indices, in one transaction."""
    execute = session.connection.execute
    keys = own_keys(client)
    ids = count()
    execute("insert into cell values (?, 'phase', 1, ?, 0)", (RUN, pack("start")))

    def step() -> object:
        now_us = time.time_ns() // 1000
        execute("begin immediate")
        execute("insert or replace into kv values (?, ?)", (next(keys), pack(1)))
        head = execute(
            "select sequence, hash from event where run = ? order by sequence desc limit 1", (RUN,)
        ).fetchone()
        sequence, previous = (head[0] + 1, head[1]) if head else (0, bytes(32))
        payload = json.dumps(PAYLOAD).encode()
        digest = hashlib.sha256(f"{RUN}/{sequence}/{now_us}".encode() + payload + previous).digest()
        execute(
            "insert into event values (?, ?, 'tool_call', ?, ?, ?, ?)",
            (RUN, sequence, payload, now_us, previous, digest),
        )
        (version,) = execute("select version from cell where run = ? and name = 'phase'", (RUN,)).fetchone()
        execute(
            "update cell set version = ?, value = ?, at_us = ? where run = ? and name = 'phase' and version = ?",
            (version + 1, pack("next"), now_us, RUN, version),
        )
        trace = f"trace-{next(ids):010}"
        body = json.dumps({"content": THOUGHT.content, "confidence": THOUGHT.confidence}).encode()
        execute("insert into trace values (?, ?, 'thought', ?, ?)", (RUN, trace, body, now_us))
        for tag in TAGS:
            execute("insert into trace_tag values (?, ?, ?)", (RUN, tag, trace))
        return execute("commit")

    return step


def _steps(store: Inmem, client: int, _: int) -> Callable[[], object]:
    """Return the same step in inmem."""
    keys = own_keys(client)
    db = store.db
    db.cells.init(RUN, "phase", "start")

    def body(txn: inmem.Transaction) -> None:
        txn.kv.put(next(keys), 1)
        txn.events.append("tool_call", PAYLOAD)
        phase = txn.cells.read("phase")
        assert phase is not None
        txn.cells.cas("phase", phase.version, "next")
        txn.traces.record_with_options(THOUGHT, tags=TAGS)

    return lambda: db.transaction(RUN, body)


def _cross(settings: Settings) -> Result:
    contenders: list[Any] = [
        Doing(Inmem(), _steps),
        Doing(Inmem(dispatcher="threads"), _steps),
        Doing(_SqliteAgent("NORMAL"), _agent_steps),
    ]
    return contest(settings, contenders)


def _append_50(settings: Settings) -> Result:
    """Measure fifty threads and one thread, each with the floor: the same work without a store."""
    figures: list[Figure] = []
    for clients, name in ((APPENDERS, f"{APPENDERS} threads"), (1, "1 thread")):
        contenders: list[Any] = [Doing(Inmem("always"), _appends), Doing(CrowdedFile(), increments)]
        own, floor = contest(settings, contenders, clients=clients).figures
        own.name, floor.name = name, f"{floor.name}, {name}"
        figures += own, floor
    return Result(figures)


SUBJECTS = (
    Subject(
        "put",
        "KV put, interval",
        _put,
        (Target("inmem interval", at_least=25_000), Target("inmem interval", at_least=0.8, per="sqlite NORMAL")),
    ),
    Subject("append", "event append, interval", _append, (Target("inmem interval", at_least=20_000),)),
    Subject("cas", "cell cas, 1,000 cells, interval", _cas, (Target("inmem interval", at_least=20_000),)),
    Subject("record", "trace record, interval", _record, (Target("inmem interval", at_least=10_000),)),
    Subject(
        "cross",
        "key + hashed event + cell + trace with its indices in one transaction, interval",
        _cross,
        (Target("inmem interval", at_least=10_000), Target("inmem interval", at_least=2, per="sqlite NORMAL")),
    ),
    Subject(
        "append-50",
        "50 threads appending to one run's log, always",
        _append_50,
        (Target("50 threads", at_least=20, per="1 thread"),),
    ),
)
