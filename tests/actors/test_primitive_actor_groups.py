"""While a commit is in flight a primitive actor collects requests, and commits them together."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import inmem
from inmem import CellExistsError, Database, DiskFullError, Event, InmemError, OverloadedError, messages
from inmem.engine.commits import request_groups
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, Gate, disk_full, open_on
from tests.actors.workload import in_parallel, until
from tests.log_events import SECRET, told


@pytest.fixture
def disk(tmp_path: Path) -> FaultyDisk:
    return FaultyDisk(tmp_path / "db")


@pytest.fixture(params=["caller", "threads"])
def db(request: pytest.FixtureRequest, disk: FaultyDisk) -> Iterator[Database]:
    with open_on(disk, dispatcher=request.param) as opened:
        opened.put("run", "ready", 1)
        yield opened


@pytest.fixture
def hold(disk: FaultyDisk) -> Iterator[Callable[[Any], Gate]]:
    """Hold the commit of what a callable starts, at its sync, and give the gate that lets it go on."""
    gates: list[Gate] = []

    def hold(start: Callable[[], Any]) -> Gate:
        gate = disk.gate("sync", ".wal")
        gates.append(gate)
        start()
        assert gate.arrived.wait(FAILSAFE_S)
        return gate

    yield hold
    for gate in gates:
        gate.open()


def get(future: Any) -> Any:
    return future.get(timeout=FAILSAFE_S)


def answer(future: Any) -> Any:
    try:
        return get(future)
    except InmemError as error:
        return error


def test_each_write_of_a_key_in_a_crowd_has_a_version_of_its_own(db, hold):
    """Whoever swaps from the version that a put was answered with swaps what that put wrote, and nobody else's."""
    gate = hold(lambda: db.kv.futures.put("run", "busy", 0))
    puts = [db.kv.futures.put("run", "k", number) for number in range(3)]
    other = db.kv.futures.put("run", "other", 0)
    swap, late = db.kv.futures.cas("run", "gone", 0, "mine"), db.kv.futures.put("run", "gone", "late")
    gate.open()
    versions = [get(put) for put in puts]
    assert versions == list(range(versions[0], versions[0] + 3))
    assert get(other) == versions[2], "writes of other keys share a commit"
    with pytest.raises(inmem.CasConflictError):
        db.cas("run", "k", versions[1], "made of 1")
    assert db.get("run", "k") == 2
    assert get(swap) < get(late)
    with pytest.raises(inmem.CasConflictError):
        db.cas("run", "gone", get(swap), "made of mine")


def test_watchers_are_told_of_each_write_of_a_key_in_a_crowd(db, hold):
    db.begin_run("run")
    db.put("run", "lock", "earlier")
    watch = db.watch("run", timeout=0)
    gate = hold(lambda: db.kv.futures.put("run", "busy", 0))
    futures = [db.cells.futures.init("run", "busy", 0), db.runs.futures.create_run("busy")]
    futures += [
        db.kv.futures.put("run", "lock", 1), db.kv.futures.delete("run", "lock"), db.kv.futures.put("run", "lock", 2),
        db.cells.futures.set("run", "c", 1), db.cells.futures.set("run", "c", 2), db.cells.futures.delete("run", "c"),
        db.cells.futures.set("run", "c", 3), db.runs.futures.pause_run("run"), db.runs.futures.resume_run("run"),
    ]  # fmt: skip
    gate.open()
    for future in futures:
        get(future)
    told = [(change.primitive, change.key, str(change.kind)) for change in watch if change.key != "busy"]
    assert [each[1:] for each in told if each[0] == "kv"] == [("lock", "put"), ("lock", "delete"), ("lock", "put")]
    assert [kind for _, key, kind in told if key == "c"] == ["put", "put", "delete", "put"]
    assert [kind for primitive, _, kind in told if primitive == "runs"] == ["put", "put"]


def test_runs_are_listed_in_the_order_of_creation_whatever_else_their_crowd_does(db, hold):
    db.begin_run("old")
    gate = hold(lambda: db.runs.futures.create_run("busy"))
    runs = db.runs.futures
    futures = [
        runs.pause_run("old"), runs.create_run("z"), runs.resume_run("old"), runs.create_run("b"),
        runs.create_run("gone"), runs.create_run("y"), runs.delete_run("gone"), runs.create_run("a"),
    ]  # fmt: skip
    gate.open()
    for future in futures:
        get(future)
    assert db.runs.list_runs() == ["old", "busy", "z", "b", "y", "a"]
    assert [run.run_id for run in db.runs.query_runs(after="z")] == ["b", "y", "a"]


def test_fifty_appenders_make_two_commits(db, hold):
    before = db.stats()
    first: list[Any] = []
    gate = hold(lambda: first.append(db.events.futures.append("run", "type", -1)))
    futures = [db.events.futures.append("run", "type", n) for n in range(50)]
    gate.open()
    assert get(first[0]).sequence == 0
    assert [get(future).sequence for future in futures] == list(range(1, 51))
    after = db.stats()
    assert after.version - before.version == 2
    assert after.commits - before.commits == 2
    assert after.conflicts == before.conflicts == {}
    assert [event.payload for event in db.events.read_range("run", 0, 100)] == list(range(-1, 50))


def test_groups_of_different_actors_share_one_sync(db, disk, hold):
    """Group commit in the log: what the five actors have ready while a sync runs is written and synced together."""
    gate = hold(lambda: db.kv.futures.put("run", "k", 0))
    futures = [db.events.futures.append("a", "type", 1), db.cells.futures.init("b", "c", 1)]
    futures.append(db.traces.futures.record("c", inmem.Thought("t")))
    log_writer = db.directory.writer.mailbox.actor
    until(lambda: len(log_writer._group._pending) == len(futures), "not all the groups reach the log writer")
    syncs = disk.counts["sync"]
    gate.open()
    for future in futures:
        get(future)
    assert disk.counts["sync"] <= syncs + 2
    assert max(db.stats().group_sizes) >= 2


def test_threads_are_served_in_their_own_order(db, hold):
    gate = hold(lambda: db.events.futures.append("run", "start", None))
    futures: dict[int, list[Any]] = {n: [] for n in range(5)}

    def send(sender: int) -> Callable[[], None]:
        def run() -> None:
            futures[sender] = [db.events.futures.append("run", str(sender), n) for n in range(10)]

        return run

    in_parallel(*(send(sender) for sender in futures))
    gate.open()
    for sender, sent in futures.items():
        events: list[Event] = [get(future) for future in sent]
        assert [event.sequence for event in events] == sorted(event.sequence for event in events)
        assert [event.payload for event in db.events.read_by_type("run", str(sender))] == list(range(10))
    assert db.events.len("run") == 51
    assert db.events.verify_chain("run").is_valid


def test_a_failing_request_fails_alone(db, hold):
    db.cells.init("run", "taken", 1)
    before = db.version
    gate = hold(lambda: db.cells.futures.set("run", "opener", 1))
    futures = [
        db.cells.futures.init("run", "a", 1),
        db.cells.futures.init("run", "taken", 2),
        db.cells.futures.cas("run", "taken", 7, 2),
        db.cells.futures.set("run", "b", 1),
        db.cells.futures.cas("run", "nowhere", 1, 2),
        db.cells.futures.cas("run", "taken", 1, 3),
    ]
    gate.open()
    answers = [answer(future) for future in futures]
    assert [type(found) for found in answers] == [
        int,
        CellExistsError,
        inmem.CasConflictError,
        int,
        inmem.CellNotFoundError,
        int,
    ]
    assert db.version == before + 2
    assert {name: db.cells.read("run", name).value for name in db.cells.list("run")} == {
        "a": 1,
        "b": 1,
        "opener": 1,
        "taken": 3,
    }


def test_later_requests_of_a_group_see_the_earlier_ones(db, hold):
    gate = hold(lambda: db.cells.futures.init("run", "c", 0))
    futures = [db.cells.futures.cas("run", "c", version, version) for version in range(1, 6)]
    futures.append(db.cells.futures.init("run", "c", 0))
    gate.open()
    answers = [answer(future) for future in futures]
    assert answers[:5] == [2, 3, 4, 5, 6]
    assert isinstance(answers[5], CellExistsError)
    assert db.cells.read("run", "c").value == 5


def test_a_refusal_waits_for_what_it_rests_on(db, hold):
    """`init` is refused because of what a neighbour wrote: it learns so when the neighbour's write is a fact."""
    gate = hold(lambda: db.cells.futures.set("run", "opener", 1))
    first = db.cells.futures.init("run", "c", "first")
    second = db.cells.futures.init("run", "c", "second")
    read = db._client.send(messages.ReadCell("run", "c"))
    assert not second.done
    gate.open()
    assert get(first) == 1
    assert isinstance(answer(second), CellExistsError)
    assert get(read).value == "first"


def test_nothing_of_a_group_is_answered_before_it_is_durable(db, disk, hold):
    gate = hold(lambda: db.cells.futures.set("run", "opener", 1))
    futures = [db.cells.futures.init("run", "c", 1), db.cells.futures.init("run", "c", 2)]
    futures.append(db._client.send(messages.ReadCell("run", "c")))
    held = disk.gate("sync", ".wal")
    gate.open()
    assert held.arrived.wait(FAILSAFE_S)
    assert not any(future.done for future in futures)
    held.open()
    assert get(futures[0]) == 1
    assert isinstance(answer(futures[1]), CellExistsError)
    assert get(futures[2]).value == 1


def test_a_full_disk_refuses_the_group_and_not_the_next(db, disk, hold, events):
    gate = hold(lambda: db.kv.futures.put("run", "opener", 1))
    futures = [db.kv.futures.put("run", f"k{n}", n) for n in range(5)]
    # The first append is the mark behind the opener, which may fail unnoticed.
    disk.fail("append", disk_full, at=2)
    gate.open()
    assert {type(answer(future)) for future in futures} == {DiskFullError}
    assert db.kv.list("run", "k") == []
    (refused,) = told(events, "warning", "append_refused")
    assert refused["transactions"] == 1
    assert "injected: no space left" in refused["error"]
    assert db.kv.put("run", "k", 1) == db.version


def test_a_mark_that_has_no_room_is_told(db, disk, hold, events):
    gate = hold(lambda: db.kv.futures.put("run", "opener", SECRET))
    disk.fail("append", disk_full)
    gate.open()
    db.kv.put("run", "k", SECRET)
    (missing,) = told(events, "warning", "sync_mark_missing")
    assert list(missing) == ["error"]
    assert "injected: no space left" in missing["error"]


def test_a_group_that_loses_is_carried_out_again(db, hold):
    """Another transaction commits to the same log in between: nobody's append is lost or refused."""
    rival = db.begin("run")
    rival.events.append("rival", None)
    gate = hold(lambda: db.kv.futures.put("other", "k", 1))
    futures = [db.events.futures.append("run", "type", n) for n in range(10)]
    rivals = [db._client.directory.coordinator.ask(_commit_of(rival), block=False)]
    more = [db.events.futures.append("run", "type", n) for n in range(10, 20)]
    gate.open()
    sequences = [get(future).sequence for future in (*futures, *more)]
    assert len(set(sequences)) == 20
    get(rivals[0])
    assert db.events.verify_chain("run").is_valid
    assert db.events.len("run") in {20, 21}


def _commit_of(txn: inmem.Transaction) -> Any:
    from inmem.actors.messages.transactions import Commit

    return Commit(txn._engine.seal(), 0)


def test_a_group_that_loses_first_is_repeated_until_it_wins(db):
    """A closure transaction and the actor append to one log, over and over."""
    per_thread = 20

    def by_actor() -> None:
        for n in range(per_thread):
            db.events.append("run", "actor", n)

    def by_hand() -> None:
        for n in range(per_thread):
            db.transaction("run", lambda txn, n=n: txn.events.append("hand", n), retry=inmem.RetryPolicy(1000, 0.0001))

    in_parallel(by_actor, by_actor, by_hand, by_hand)
    assert db.events.len("run") == 4 * per_thread
    assert db.events.verify_chain("run").is_valid
    assert [event.sequence for event in db.events.read_range("run", 0, 1000)] == list(range(4 * per_thread))


def limit(db, **limits):
    """Give the actor of the KVStore other limits; opening a database with them is tested in tests/front."""
    db._client.directory.mailboxes["kv"].mailbox.actor._limits = inmem.Limits(**limits)


def test_more_than_may_wait_are_refused(db, hold, events):
    limit(db, waiting_requests_max=10)
    gate = hold(lambda: db.kv.futures.put("run", "opener", 1))
    futures = [db.kv.futures.put("run", f"k{n:02}", SECRET) for n in range(15)]
    refusals = [answer(future) for future in futures[10:]]
    assert [(type(error), error.limit) for error in refusals] == [(OverloadedError, 10)] * 5
    assert all(error.retryable for error in refusals)
    # Once, for as many as are refused until nobody waits any more.
    [overloaded] = told(events, "warning", "overloaded")
    assert overloaded == {"actor": "kv", "waiting": 10, "error": str(refusals[0])}
    gate.open()
    for future in futures[:10]:
        get(future)
    assert db.kv.list("run", "k") == [f"k{n:02}" for n in range(10)]
    db.kv.put("run", "k again", 1)
    gate = hold(lambda: db.kv.futures.put("run", "opener", 1))
    futures = [db.kv.futures.put("run", "k", SECRET) for _ in range(15)]
    assert {type(answer(future)) for future in futures[10:]} == {OverloadedError}
    assert told(events, "warning", "overloaded") == [overloaded] * 2
    gate.open()
    for future in futures[:10]:
        get(future)


def test_a_long_line_is_taken_in_several_groups(db, hold, monkeypatch):
    monkeypatch.setattr(request_groups, "GROUP_REQUESTS_MAX", 8)
    actor = db._client.directory.mailboxes["kv"].mailbox.actor
    actor._requests._requests_max = 8
    before = db.version
    gate = hold(lambda: db.kv.futures.put("run", "opener", 1))
    futures = [db.kv.futures.put("run", f"k{n:02}", n) for n in range(20)]
    gate.open()
    versions = [get(future) for future in futures]
    assert db.version == before + 1 + 3
    assert versions == sorted(versions)


def test_a_group_too_large_for_one_transaction_is_split(db, hold):
    limit(db, transaction_bytes_max=2500)
    gate = hold(lambda: db.kv.futures.put("run", "opener", 1))
    futures = [db.kv.futures.put("run", f"k{n}", "x" * 900) for n in range(7)]
    futures.insert(3, db.kv.futures.put("run", "giant", "x" * 3000))
    gate.open()
    answers = [answer(future) for future in futures]
    assert isinstance(answers[3], inmem.UsageError)
    assert [type(found) for found in answers[:3] + answers[4:]] == [int] * 7
    assert db.kv.list("run", "k") == [f"k{n}" for n in range(7)]
    assert db.kv.get("run", "giant") is None


def test_requests_that_need_the_version_of_their_own_group_open_the_next(db, hold):
    gate = hold(lambda: db.kv.futures.put("run", "opener", 1))
    put = db.kv.futures.put("run", "k", 1)
    versioned = db._client.send(messages.GetVersionedKey("run", "k"))
    gate.open()
    version = get(put)
    assert get(versioned).version == version


def test_reads_alone_need_no_commit(db):
    db.kv.put("run", "k", 1)
    before = db.version
    assert get(db._client.send(messages.GetKey("run", "k"))) == 1
    assert get(db._client.send(messages.CountEvents("run"))) == 0
    assert db.version == before
