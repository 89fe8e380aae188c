"""Wherever a handler raises, its callers learn the truth, nobody hangs, and the store goes on."""

import ast
import inspect
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pykka
import pytest

import inmem
from inmem import Database, InmemError, RetryPolicy, StoreFailedError, messages
from inmem.actors import reaper, restart_limit
from inmem.actors.core.checkpointer import Checkpointer
from inmem.actors.core.coordinator import Coordinator
from inmem.actors.core.fileless_log_writer import FilelessLogWriter
from inmem.actors.core.log_disk import LogDisk
from inmem.actors.core.log_writer import LogWriter
from inmem.actors.core.shard_actor import ShardActor
from inmem.actors.dispatch.actor import StoreActor
from inmem.actors.messages import core
from inmem.actors.messages.control import GoOn
from inmem.actors.messages.reaping import Expiring, FindExpiring, FindMore, OldestRunning, ReapDue, ReconcileDeadlines
from inmem.actors.messages.transactions import (
    Begin,
    CancelCommit,
    Commit,
    CommitDecided,
    Committed,
    Drain,
    ReadOldest,
    ReadOutcome,
    ReadStats,
    RetryDue,
    SettleCommit,
)
from inmem.actors.messages.watching import FeedGrown, LookOn, Taken, Unwatch, Watch
from inmem.actors.requests.primitive_actor import PrimitiveActor
from inmem.actors.requests.primitive_actors import PRIMITIVE_ACTORS
from inmem.actors.requests.stand_in import StandIn
from inmem.actors.supervisor import Supervisor
from inmem.actors.watch_actor import WatchActor
from inmem.engine.commits import request_groups
from inmem.engine.keys import Tag, shard_of
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, disk_full, open_on, refused
from tests.actors.workload import Worker, in_parallel, state_of
from tests.log_events import SECRET, LogEvents, raised, told

WORKERS = ("ada", "grace", "barbara")
STORAGES = ("disk", "memory")
DISPATCHERS = ("caller", "threads")
WHEN = ("before", "after")

CORE = {
    Coordinator: (
        Begin,
        Commit,
        core.Validated,
        core.Appended,
        core.Applied,
        core.AppendRefused,
        CancelCommit,
        SettleCommit,
        core.SegmentRotated,
        ReadOutcome,
        ReadStats,
        ReadOldest,
    ),
    ShardActor: (core.Validate, core.Apply, core.Release),
    LogWriter: (
        core.Append,
        core.Synced,
        core.SegmentStarted,
        core.SegmentRefused,
        core.Flush,
        core.Checkpoint,
        core.CheckpointWritten,
        core.CheckpointFailed,
    ),
    FilelessLogWriter: (core.Append, core.Flush, core.Checkpoint),
    LogDisk: (core.Sync, core.StartSegment),
    Checkpointer: (core.WriteCheckpoint, core.LogFlushed),
}
CLOSING = (
    (Coordinator, Drain),
    (LogWriter, core.CloseLog),
    *((actor_class, Drain) for actor_class in PRIMITIVE_ACTORS.values()),
)
NEEDS_DISK = {LogWriter, LogDisk, Checkpointer}


class BrokenError(Exception):
    """Raised by failpoints: nothing that any handler expects."""


class Failpoint:
    """Makes one class of actors raise at one kind of message, before or after it was really handled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, actor_class: type[Any]) -> None:
        self._original: Callable[[Any, Any], Any] = actor_class.on_receive
        self._kind: type | None = None
        self._times = 0
        self._after = False
        self._lock = threading.Lock()
        self.fired = threading.Event()
        monkeypatch.setattr(actor_class, "on_receive", self._replacement())

    def arm(self, kind: type, when: str, times: int = 1) -> None:
        with self._lock:
            self._kind, self._after, self._times = kind, when == "after", times
        self.fired.clear()

    def disarm(self) -> None:
        with self._lock:
            self._times = 0

    def _replacement(self) -> Callable[[Any, Any], Any]:
        # A function and no bound method, or it would not be called with the actor.
        def on_receive(actor: Any, message: Any) -> Any:
            return self._handle(actor, message)

        return on_receive

    def _handle(self, actor: Any, message: Any) -> Any:
        with self._lock:
            strikes = self._times > 0 and type(message) is self._kind
            self._times -= strikes
        if not strikes:
            return self._original(actor, message)
        self.fired.set()
        if self._after:
            self._original(actor, message)
        raise BrokenError(f"{type(actor).__name__} over {type(message).__name__}")


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One store goes through many failures here; storms have tests of their own."""
    if "storm" not in request.node.name:
        monkeypatch.setattr(restart_limit, "RESTARTS_MAX", 10_000)


class House:
    """A store, on a disk that can fail, or in memory."""

    def __init__(self, path: Path, storage: str, dispatcher: str) -> None:
        self.path = path
        self.disk = FaultyDisk(path) if storage == "disk" else None
        self._dispatcher = dispatcher
        if self.disk is None:
            self.db = inmem.open(":memory:", shards=2, dispatcher=dispatcher)
        else:
            self.db = open_on(self.disk, shards=2, dispatcher=dispatcher)

    def check_reopened(self, workers: list[Worker]) -> None:
        """Close, and unless it was all in memory find the same again."""
        live, version = state_of(self.db), self.db.version
        self.close()
        if self.disk is None:
            return
        assert not self.disk.violations
        with inmem.open(self.path) as db:
            assert state_of(db) == live
            assert db.version == version
            for worker in workers:
                worker.check(db)

    def close(self) -> None:
        in_parallel(self.db.close)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[[str, str], House]]:
    houses: list[House] = []

    def build(storage: str, dispatcher: str) -> House:
        houses.append(House(tmp_path / "db", storage, dispatcher))
        return houses[-1]

    yield build
    for built in houses:
        if built.disk is not None:
            built.disk.repair()
        built.close()


def tolerant(*works: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        for work in works:
            try:
                work()
            except InmemError:
                continue

    return run


def two_runs_on_different_shards() -> tuple[str, str]:
    first = "left"
    return first, next(name for name in map(str, range(100)) if shard_of(name, 2) != shard_of(first, 2))


def lose_a_conflict(db: Database) -> None:
    """One shard refuses while the other has prepared, and has to release."""
    left, right = two_runs_on_different_shards()
    loser = db.begin(left)
    loser.put("contended", "loser")
    loser.on(right).kv.put("contended", "loser")
    db.put(left, "contended", "winner")
    with pytest.raises(InmemError):
        loser.commit()


def chores(house: House, kind: type, failpoint: Failpoint) -> Callable[[], None]:
    """Everything that makes a store send messages, with the faults that the rare ones need."""
    db, disk = house.db, house.disk

    def provoke() -> None:
        if disk is None:
            return
        if kind is core.AppendRefused:
            # A fault may strike a mark or the head of a segment, which no commit waits for.
            deadline = time.monotonic() + FAILSAFE_S
            while not failpoint.fired.is_set() and time.monotonic() < deadline:
                disk.repair()
                disk.fail("append", disk_full)
                tolerant(lambda: db.put("chores", "k", 0))()
        elif kind is core.SegmentRefused:
            disk.fail("create", disk_full, name_end=".wal")
        elif kind is core.CheckpointFailed:
            disk.fail("rename", refused, name_end=".checkpoint")

    return tolerant(
        provoke,
        lambda: lose_a_conflict(db),
        lambda: db.put("chores", "k", 1),
        lambda: db.begin("chores").abort(),
        db.stats,
        lambda: db.outcome("ab-1-0"),
        db.flush,
        db.checkpoint,
        lambda: db._client.directory.coordinator.ask(ReadOldest()),
        lambda: db._client.directory.coordinator.tell(CancelCommit(10**9, 1.0)),
        lambda: db._client.directory.coordinator.ask(SettleCommit(10**9, db.version)),
    )


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize(
    ("actor_class", "storage"),
    [
        pytest.param(actor_class, storage, id=f"{actor_class.__name__}-{storage}")
        for actor_class in CORE
        for storage in STORAGES
        if (actor_class not in NEEDS_DISK or storage == "disk")
        and (actor_class is not FilelessLogWriter or storage == "memory")
    ],
)
def test_a_core_actor_raises(house, monkeypatch, actor_class, storage, dispatcher, when):
    failpoint = Failpoint(monkeypatch, actor_class)
    built = house(storage, dispatcher)
    db = built.db
    workers = [Worker(db, name) for name in WORKERS]
    on_disk_only = {core.AppendRefused, core.SegmentRotated}
    for kind in CORE[actor_class]:
        if storage == "memory" and kind in on_disk_only:
            continue
        failpoint.arm(kind, when)
        in_parallel(*(lambda worker=worker: worker.do(3) for worker in workers), chores(built, kind, failpoint))
        assert failpoint.fired.wait(FAILSAFE_S), kind
        if built.disk is not None:
            built.disk.repair()
        failpoint.disarm()
        in_parallel(partial(db.put, "after", kind.__name__, 1))
        for worker in workers:
            worker.check(db)
            assert not worker.unknown
    stats = db.stats()
    assert stats.in_flight == 0
    built.check_reopened(workers)


REQUESTS: dict[str, list[Callable[[int], Any]]] = {
    "kv": [
        lambda n: messages.PutKey("run", f"k{n}", n),
        lambda n: messages.CasKey("run", f"cas{n}", 0, n),
        lambda _: messages.DeleteKey("run", "k0"),
        lambda _: messages.GetKey("run", "k1"),
        lambda _: messages.GetKeys("run", ["k1", "k2"]),
        lambda _: messages.GetVersionedKey("run", "k1"),
        lambda _: messages.KeyExists("run", "k1"),
        lambda _: messages.ListKeys("run"),
        lambda _: messages.ListKeysWithValues("run"),
    ],
    "events": [
        lambda n: messages.AppendEvent("run", "type", n),
        lambda n: messages.AppendEvents("run", [("type", n), ("type", n)]),
        lambda _: messages.ReadEvent("run", 0),
        lambda _: messages.ReadEvents("run", 0, 3),
        lambda _: messages.HeadEvent("run"),
        lambda _: messages.TailEvents("run", 2),
        lambda _: messages.CountEvents("run"),
        lambda _: messages.ReadEventsByType("run", "type"),
        lambda _: messages.VerifyEvents("run"),
        lambda _: messages.ListEventTypes("run"),
    ],
    "cells": [
        lambda n: messages.InitCell("run", f"c{n}", n),
        lambda n: messages.SetCell("run", "c", n),
        lambda n: messages.CasCell("run", "c", n, n),
        lambda _: messages.DeleteCell("run", "c0"),
        lambda _: messages.ReadCell("run", "c"),
        lambda _: messages.CellExists("run", "c"),
        lambda _: messages.ListCells("run"),
    ],
    "traces": [
        lambda n: messages.RecordTrace("run", inmem.Thought(str(n))),
        lambda _: messages.ListTraces("run"),
        lambda _: messages.CountTraces("run"),
        lambda _: messages.ListRootTraces("run"),
        lambda _: messages.QueryTracesByType("run", inmem.Thought),
        lambda _: messages.QueryTracesByTag("run", "tag"),
        lambda _: messages.QueryTracesByTime("run", 0, 1),
        lambda n: messages.GetTrace("run", f"t{n}"),
        lambda n: messages.GetTraceChildren("run", f"t{n}"),
        lambda n: messages.GetTraceTree("run", f"t{n}"),
    ],
    "runs": [
        lambda n: messages.CreateRun(f"run-{n}"),
        lambda n: messages.GetRun(f"run-{n % 5}"),
        lambda _: messages.ListRuns(),
        lambda _: messages.QueryRuns(),
        lambda n: messages.GetChildRuns(f"run-{n % 5}"),
        lambda _: messages.GetRunStats(),
        lambda n: messages.PauseRun(f"run-{n % 5}"),
        lambda n: messages.ResumeRun(f"run-{n % 5}"),
        lambda n: messages.UpdateRunStatus(f"run-{n % 5}", "Paused"),
        lambda n: messages.AddRunTags(f"run-{n % 5}", ["tag"]),
        lambda n: messages.RemoveRunTags(f"run-{n % 5}", ["tag"]),
        lambda n: messages.UpdateRunMetadata(f"run-{n % 5}", {"n": n}),
        lambda n: messages.CancelRun(f"run-{n % 5}"),
        lambda n: messages.CompleteRun(f"run-{n % 5}"),
        lambda n: messages.FailRun(f"run-{n % 5}", "because"),
        lambda n: messages.ArchiveRun(f"run-{n % 5}"),
        lambda n: messages.DeleteRun(f"run-{n % 5}"),
    ],
}


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", PRIMITIVE_ACTORS)
def test_a_primitive_actor_raises_over_a_request(house, monkeypatch, name, storage, dispatcher, when):
    failpoint = Failpoint(monkeypatch, PRIMITIVE_ACTORS[name])
    built = house(storage, dispatcher)
    db = built.db
    for position, make in enumerate(REQUESTS[name]):
        requests = [make(10 * position + n) for n in range(5)]
        failpoint.arm(type(requests[0]), when)
        futures = [db._client.send(request) for request in requests]
        answers = [answer_of(future) for future in futures]
        assert failpoint.fired.wait(FAILSAFE_S)
        # The one over which the actor failed may have been aborted; its neighbours are carried out by the successor.
        aborted = [answer for answer in answers if isinstance(answer, inmem.TransactionAbortedError)]
        assert len(aborted) <= (1 if when == "before" else 0), answers
    built.check_reopened([])


def answer_of(future: Any) -> Any:
    try:
        return future.get(timeout=FAILSAFE_S)
    except InmemError as error:
        return error


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize("storage", STORAGES)
def test_a_primitive_actor_raises_while_its_group_is_in_flight(house, monkeypatch, storage, dispatcher, when):
    failpoint = Failpoint(monkeypatch, PRIMITIVE_ACTORS["events"])
    built = house(storage, dispatcher)
    db = built.db
    for kind in (CommitDecided, messages.HeadEvent):
        failpoint.arm(kind, when)
        futures = [db.events.futures.append("run", "type", n) for n in range(20)]
        head = db._client.send(messages.HeadEvent("run"))
        futures += [db.events.futures.append("run", "type", n) for n in range(20)]
        answers = [answer_of(future) for future in futures]
        assert failpoint.fired.wait(FAILSAFE_S)
        assert [type(answer) for answer in answers] == [inmem.Event] * 40
        assert len({event.sequence for event in answers}) == 40
        answer_of(head)
    assert db.events.len("run") == 80
    assert db.events.verify_chain("run").is_valid
    built.check_reopened([])


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_primitive_actor_raises_over_its_retry_and_its_successor_over_going_on(house, monkeypatch, dispatcher, when):
    monkeypatch.setattr(request_groups, "BACKOFF_AFTER", 0)
    failpoint = Failpoint(monkeypatch, PRIMITIVE_ACTORS["kv"])
    built = house("memory", dispatcher)
    db = built.db
    core_failpoint = Failpoint(monkeypatch, Coordinator)
    failpoint.arm(RetryDue, when)
    successors = Failpoint(monkeypatch, PRIMITIVE_ACTORS["kv"])
    successors.arm(GoOn, when)
    core_failpoint.arm(Commit, "before")
    futures = [db.kv.futures.put("run", f"k{n}", n) for n in range(5)]
    assert sorted(future.get(timeout=FAILSAFE_S) for future in futures)
    assert core_failpoint.fired.wait(FAILSAFE_S)
    assert failpoint.fired.wait(FAILSAFE_S)
    assert successors.fired.wait(FAILSAFE_S)
    assert len(db.kv.list("run")) == 5


@pytest.mark.parametrize("position", [0, 2, 4])
@pytest.mark.parametrize("error", [BrokenError, inmem.InvariantError], ids=["unexpected", "invariant"])
def test_a_request_that_cannot_be_carried_out_takes_nobody_along(house, monkeypatch, position, error):
    """Its neighbours in the group, carried out before it or waiting behind it, are carried out by the successor."""
    kv_class = PRIMITIVE_ACTORS["kv"]
    original = kv_class.perform

    def perform(actor: Any, txn: Any, message: Any) -> Any:
        if isinstance(message, messages.PutKey) and message.key == "poison":
            raise error("injected")
        return original(actor, txn, message)

    monkeypatch.setattr(kv_class, "perform", perform)
    built = house("disk", "caller")
    gate = built.disk.gate("sync")
    opener = built.db.kv.futures.put("run", "opener", 0)
    assert gate.arrived.wait(FAILSAFE_S)
    keys = ["poison" if n == position else f"k{n}" for n in range(5)]
    futures = [built.db.kv.futures.put("run", key, 1) for key in keys]
    gate.open()
    opener.get(timeout=FAILSAFE_S)
    answers = [answer_of(future) for future in futures]
    assert isinstance(answers[position], inmem.TransactionAbortedError)
    assert [type(answer) for n, answer in enumerate(answers) if n != position] == [int] * 4
    assert built.db.kv.list("run") == sorted([*(key for key in keys if key != "poison"), "opener"])


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize(
    ("actor_class", "kind"),
    [pytest.param(actor_class, kind, id=f"{actor_class.__name__}-{kind.__name__}") for actor_class, kind in CLOSING],
)
def test_an_actor_raises_while_the_store_is_closed(house, monkeypatch, actor_class, kind, dispatcher, when):
    failpoint = Failpoint(monkeypatch, actor_class)
    built = house("disk", dispatcher)
    workers = [Worker(built.db, name) for name in WORKERS]
    in_parallel(*(lambda worker=worker: worker.do(2) for worker in workers))
    failpoint.arm(kind, when)
    built.check_reopened(workers)
    assert failpoint.fired.wait(FAILSAFE_S)


@pytest.mark.parametrize("actor_class", [Coordinator, LogWriter, PRIMITIVE_ACTORS["kv"]])
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_storm_while_the_store_is_closed_ends(house, monkeypatch, actor_class, dispatcher):
    failpoint = Failpoint(monkeypatch, actor_class)
    built = house("disk", dispatcher)
    built.db.put("run", "k", 1)
    failpoint.arm(Drain if actor_class is not LogWriter else core.CloseLog, "after", 10**9)

    def close() -> None:
        try:
            built.db.close()
        except StoreFailedError:
            return

    in_parallel(close)
    assert failpoint.fired.wait(FAILSAFE_S)
    failpoint.disarm()
    with inmem.open(built.path) as db:
        assert db.get("run", "k") == 1


REAPING = (Expiring, ReapDue, OldestRunning, CommitDecided, FindExpiring, FindMore, ReconcileDeadlines)


def keys_left(db: Database) -> bool:
    """Whether an entry is there for an expired key; whoever looks makes a commit first, so that things go on."""
    db.put("looking", "k", 1)
    table = db._client.snapshot().table("mayflies", Tag.KV)
    return table is not None and any(value is not None for _, (_, value, _) in table.range())


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize("kind", REAPING)
def test_the_reaper_raises_and_expired_keys_go_all_the_same(house, monkeypatch, kind, dispatcher, when):
    monkeypatch.setattr(reaper, "PAUSE_MIN_S", 0.001)
    monkeypatch.setattr(reaper, "KEYS_PER_LOOK_MAX", 2)
    failpoint = Failpoint(monkeypatch, reaper.Reaper)
    failpoint.arm(kind, when)
    built = house("disk", dispatcher)
    futures = [built.db.kv.futures.put("mayflies", f"k{n}", n, ttl=0.001) for n in range(5)]
    assert all(isinstance(answer_of(future), int) for future in futures)
    if kind is FindMore:
        # With the first look it was through with the empty store.
        built.db.recover()
    assert failpoint.fired.wait(FAILSAFE_S)
    deadline_s = time.monotonic() + FAILSAFE_S
    while keys_left(built.db):
        assert time.monotonic() < deadline_s, "expired keys are not reaped any more"
    assert built.db.kv.list("mayflies") == []


def check_given_up(events: LogEvents, actor: str, reason: str) -> None:
    """Each failure was told, and at last that there will be no other."""
    failures = told(events, "error", "actor_failed")
    assert len(failures) > restart_limit.RESTARTS_MAX
    for failure in failures:
        assert failure["actor"] == actor
        assert raised(failure, BrokenError)
        assert reason in failure["error"]
    assert told(events, "error", "gave_up") == [{"actor": actor}]
    assert [event for _, event, _ in events if event in ("actor_failed", "gave_up")][-1] == "gave_up"


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_storm_in_the_reaper_costs_nobody_anything_and_ends_with_recover(house, monkeypatch, dispatcher, events):
    monkeypatch.setattr(reaper, "PAUSE_MIN_S", 0.001)
    monkeypatch.setattr(reaper, "KEYS_PER_LOOK_MAX", 2)
    failpoint = Failpoint(monkeypatch, reaper.Reaper)
    failpoint.arm(Expiring, "before", 10**9)
    db = house("disk", dispatcher).db
    address = db._client.directory.mailboxes["reaper"].mailbox
    deadline_s = time.monotonic() + FAILSAFE_S
    while not isinstance(address.actor, reaper.RestingReaper):
        assert time.monotonic() < deadline_s, "nobody gives the reaper up"
        db.put("mayflies", "k", SECRET, ttl=0.001)
    check_given_up(events, "reaper", "Reaper over Expiring")
    for number in range(100):
        db.put("mayflies", f"k{number}", number, ttl=0.001)
    assert db.kv.futures.put("looking", "k", 1).get(timeout=FAILSAFE_S)
    assert not address.stash
    assert keys_left(db)
    failpoint.disarm()
    db.recover()
    while keys_left(db):
        assert time.monotonic() < deadline_s, "expired keys are not reaped any more"


class Deaf(pykka.ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, _message: Any) -> None:
        """Whatever it is told of changes, it is not interested."""


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_the_watch_actor_raises_over_a_request(house, monkeypatch, dispatcher, when):
    """What it is told of changes it fails over in tests/actors/test_watch_actor.py."""
    failpoint = Failpoint(monkeypatch, WatchActor)
    built = house("disk", dispatcher)
    store = built.db._client.directory.supervisor
    listener = Deaf.start()
    for request in (Watch(listener), Unwatch(listener)):
        failpoint.arm(type(request), when)
        answer = answer_of(store.ask(request, block=False))
        assert failpoint.fired.wait(FAILSAFE_S)
        assert isinstance(answer, inmem.TransactionAbortedError)
        assert isinstance(answer_of(store.ask(request, block=False)), int)
        built.db.put("run", "k", 1)
    listener.stop(timeout=FAILSAFE_S)
    built.check_reopened([])


def test_a_reaper_does_not_take_the_commit_of_its_predecessor_for_its_own(house, monkeypatch):
    """It took what it was reaping itself for done, and those keys would have stayed for ever."""
    monkeypatch.setattr(reaper, "PAUSE_MIN_S", FAILSAFE_S)
    db = house("memory", "caller").db
    db.put("mayflies", "k", 1, ttl=0.001)
    db.stats()
    mailbox = db._client.directory.mailboxes["reaper"].mailbox
    successor = mailbox.actor
    successor._reaping = successor._expiring.due(2**62, 10)
    mailbox.ref.tell(CommitDecided(successor._generation - 1, Committed(1)))
    assert len(successor._reaping) == len(successor._expiring) == 1
    mailbox.ref.tell(CommitDecided(successor._generation, Committed(1)))
    assert len(successor._reaping) == len(successor._expiring) == 0


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_the_log_writer_raises_when_its_timer_says_that_a_sync_is_due(tmp_path, monkeypatch, dispatcher, when):
    failpoint = Failpoint(monkeypatch, LogWriter)
    disk = FaultyDisk(tmp_path / "db")
    failpoint.arm(core.SyncDue, when)
    db = open_on(disk, dispatcher=dispatcher, durability="interval", sync_interval=0.001)
    worker = Worker(db, "ada")
    worker.do(1)
    assert failpoint.fired.wait(FAILSAFE_S)
    worker.do(2)
    db.flush()
    worker.check(db)
    db.close()
    with inmem.open(disk.path) as again:
        worker.check(again)


# Every handler has its failpoint.

OWN_TESTS = {
    PrimitiveActor: {CommitDecided, RetryDue, GoOn, Drain},
    reaper.Reaper: set(REAPING),
    LogWriter: {core.SyncDue},
    WatchActor: {Watch, Unwatch, FeedGrown, LookOn, Taken},
}
"""What the tests above, and those of the watch actor, make fail by name."""

UNSUPERVISED = {
    Supervisor: {
        "Connect", "Open", "Close", "Recover", "ActorFailed", "Halted", "PrimitiveDrained", "NotDrained", "Drained",
        "LogClosed", "CloseStepFailed", "Refresh",
    },
    StandIn: {"CommitDecided", "RetryDue", "GoOn", "Drain"},
}  # fmt: skip
"""Who is not replaced: the supervisor, whose failures have a file of their own, and who takes the place of an actor
that has been given up."""


def handled_by(actor_class: type[Any]) -> set[str]:
    """Return the names of the message classes that its `on_receive` tells apart."""
    names = set[str]()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(actor_class.on_receive)))):
        match node:
            case ast.MatchClass(cls=ast.Name(name)):
                names.add(name)
            case ast.Compare(
                left=ast.Call(func=ast.Name("type")) | ast.Name("kind"), ops=[ast.Is()], comparators=[ast.Name(name)]
            ):
                names.add(name)
    return names


def all_actors(parent: type[Any] = StoreActor) -> set[type[Any]]:
    children = {child for child in parent.__subclasses__() if child.__module__.startswith("inmem.")}
    return children.union(*map(all_actors, children))


@pytest.mark.parametrize("actor_class", sorted(all_actors(), key=lambda actor_class: actor_class.__name__))
def test_no_handler_is_without_a_failpoint(actor_class):
    if actor_class in UNSUPERVISED:
        assert handled_by(actor_class) == UNSUPERVISED[actor_class]
        return
    if actor_class in PRIMITIVE_ACTORS.values():
        [name] = [name for name, some_class in PRIMITIVE_ACTORS.items() if some_class is actor_class]
        assert {type(make(0)) for make in REQUESTS[name]} == set(actor_class.HANDLES)
        assert actor_class.on_receive is PrimitiveActor.on_receive
        return
    struck = {*CORE.get(actor_class, ()), *OWN_TESTS.get(actor_class, ())}
    struck |= {kind for some_class, kind in CLOSING if some_class is actor_class}
    if actor_class is FilelessLogWriter:
        # There is nothing to lose when it is closed.
        struck.add(core.CloseLog)
    assert handled_by(actor_class) == {kind.__name__ for kind in struck}


STORMS = [
    (ShardActor, core.Validate),
    (ShardActor, core.Apply),
    (LogWriter, core.Append),
    (LogWriter, core.Synced),
    (LogDisk, core.Sync),
    (Coordinator, Commit),
    (Coordinator, core.Appended),
    (Coordinator, core.Applied),
]


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize(
    ("storage", "actor_class", "kind"),
    [
        *(("disk", *storm) for storm in STORMS),
        *(("memory", *storm) for storm in STORMS if storm[0] not in NEEDS_DISK),
        ("memory", FilelessLogWriter, core.Append),
    ],
)
def test_a_storm_ends_in_a_store_for_readers(
    house, monkeypatch, events, *, actor_class, kind, storage, dispatcher, when
):
    failpoint = Failpoint(monkeypatch, actor_class)
    built = house(storage, dispatcher)
    db = built.db
    worker = Worker(db, "ada")
    worker.do(3)
    failpoint.arm(kind, when, 10**9)
    in_parallel(
        # Of each failure up to two pieces can come out well: one whose answer was on its way when the handler failed,
        # and one that the log then turns out to hold.
        lambda: worker.do(3 * restart_limit.RESTARTS_MAX, RetryPolicy(max_retries=3, base_delay=0.0001)),
        tolerant(lambda: db.put("run", "k", SECRET), lambda: db.events.append("run", "type", SECRET)),
    )
    assert told(events, "error", "actor_failed")
    if not (actor_class is Coordinator and kind is Commit and when == "before"):
        with pytest.raises(StoreFailedError):
            db.put("run", "late", 1)
        assert isinstance(worker.errors[-1], StoreFailedError)
        assert "BrokenError" in worker.errors[-1].reason
        assert worker.errors[-1].actor is None
        assert "Reads go on; db.recover() tries again" in str(worker.errors[-1])
    assert db.kv.list("ada") == db.kv.list("ada")
    assert db.get("ada", "00000000") == 0
    assert {0, 1, 2} <= {value for _, value in db.kv.list_with_values("ada")}
    failpoint.disarm()
    in_parallel(db.recover)
    db.put("run", "works again", 1)
    worker.do(2)
    for number, token in worker.unknown.items():
        there = db.get("ada", f"{number:08}") is not None
        assert (db.outcome(token) == "committed") is there
    worker.check(db)
    built.check_reopened([worker])


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize("when", WHEN)
def test_a_storm_in_a_primitive_actor_leaves_the_others_alone(house, monkeypatch, dispatcher, when, events):
    failpoint = Failpoint(monkeypatch, PRIMITIVE_ACTORS["kv"])
    built = house("disk", dispatcher)
    db = built.db
    failpoint.arm(messages.PutKey, when, 10**9)
    answers = [answer_of(db.kv.futures.put("run", f"k{n}", SECRET)) for n in range(20)]
    check_given_up(events, "kv", "KVActor over PutKey")
    assert isinstance(answers[-1], StoreFailedError)
    assert answers[-1].actor == "kv"
    assert str(answers[-1]).startswith("the store stopped taking requests for the kv actor: it keeps failing, ")
    assert "Transactions and reads go on" in str(answers[-1])
    committed = {f"k{n}" for n, answer in enumerate(answers) if isinstance(answer, int)}
    assert set(db.kv.list("run")) == committed
    assert isinstance(answer_of(db._client.send(messages.GetKey("run", "k0"))), StoreFailedError)
    db.transaction("run", lambda txn: txn.put("by hand", 1))
    assert db.events.append("run", "type", 1).sequence == 0
    failpoint.disarm()
    in_parallel(db.recover)
    db.kv.put("run", "again", 1)
    built.check_reopened([])
