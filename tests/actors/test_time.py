"""A wall clock that jumps both ways: no expired key comes back, nothing expires early, and no event gets earlier.

The same under every order of events: tests/simulation/test_scenarios.py.
"""

import io
import os
import queue
import threading
import time
from collections import UserDict
from itertools import islice

import pytest

import inmem
from inmem import salvaging
from inmem.actors import reaper
from inmem.actors.core.coordinator import Coordinator
from inmem.actors.dispatch.caller_dispatcher import CallerDispatcher
from inmem.actors.files import log_file
from inmem.actors.messages.reaping import ReapDue
from inmem.engine.keys import Tag
from inmem.engine.tables.snapshot import Snapshot
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, disk_full, open_on
from tests.log_events import told

HOUR_US = 3_600_000_000
START_US = 1_700_000_000_000_000


class JumpingClock:
    """A wall clock that stands still until it is set; the monotonic one is the machine's."""

    def __init__(self):
        self.us = START_US

    def now_us(self):
        return self.us

    def monotonic_s(self):
        return time.monotonic()


@pytest.fixture
def clock():
    return JumpingClock()


@pytest.fixture(params=["caller", "threads"])
def opened(request, tmp_path, clock, monkeypatch):
    """Opens the store again and again, closing what was open."""
    monkeypatch.setattr(reaper, "PAUSE_MIN_S", 0.001)
    monkeypatch.setattr(reaper, "PAUSE_MAX_S", 0.001)
    stores = []

    def open_again():
        while stores:
            stores.pop().close()
        stores.append(open_on(FaultyDisk(tmp_path / "db"), dispatcher=request.param, clock=clock))
        return stores[-1]

    yield open_again
    while stores:
        stores.pop().close()


def ways_to_see(db, key):
    """Every way to read a key, as whether it was there."""
    with db.begin("run") as txn:
        return {
            db.get("run", key) is not None,
            db.get_versioned("run", key) is not None,
            db.kv.exists("run", key),
            key in db.kv.get_many("run", [key]),
            key in db.kv.list("run"),
            key in dict(db.kv.list_with_values("run")),
            db.kv.futures.get("run", key).get(timeout=FAILSAFE_S) is not None,
            txn.get(key) is not None,
            key in dict(txn.scan()),
        }


@pytest.mark.parametrize("back_us", [1, HOUR_US, START_US - 1])
def test_a_key_that_has_expired_stays_expired_when_the_clock_steps_back(opened, clock, back_us):
    db = opened()
    db.put("run", "k", 1, ttl=10)
    clock.us = START_US + 9_999_999
    assert ways_to_see(db, "k") == {True}
    clock.us = START_US + 10_000_000
    assert ways_to_see(db, "k") == {False}
    clock.us -= back_us
    assert ways_to_see(db, "k") == {False}
    # Whatever is committed takes the time that has been reached along, through a restart and into the next process.
    db.put("run", "other", 1)
    db.recover()
    assert ways_to_see(db, "k") == {False}
    db = opened()
    assert ways_to_see(db, "k") == {False}
    db.checkpoint()
    assert ways_to_see(opened(), "k") == {False}


def test_what_was_seen_to_have_expired_stays_so_after_a_clean_close(opened, clock, monkeypatch):
    monkeypatch.setattr(reaper, "PAUSE_MIN_S", 3600)
    monkeypatch.setattr(reaper, "PAUSE_MAX_S", 3600)
    db = opened()
    db.put("run", "k", 1, ttl=10)
    clock.us += 10_000_000
    assert ways_to_see(db, "k") == {False}
    clock.us = START_US
    assert ways_to_see(opened(), "k") == {False}


def test_a_salvage_does_not_count_what_has_expired_before_the_clock_stepped_back(opened, clock, tmp_path, monkeypatch):
    monkeypatch.setattr(reaper, "PAUSE_MIN_S", 3600)
    monkeypatch.setattr(reaper, "PAUSE_MAX_S", 3600)
    db = opened()
    db.put("run", "expired", 1, ttl=10)
    clock.us += 10_000_000
    db.put("run", "there", 1, ttl=10)
    db.close()
    monkeypatch.setattr(salvaging.time, "time_ns", lambda: START_US * 1000)
    assert inmem.salvage(tmp_path / "db", tmp_path / "saved").keys == 1


def test_what_was_seen_to_have_expired_stays_so_after_a_clean_close_of_a_store_that_wrote_nothing(
    opened, clock, monkeypatch
):
    monkeypatch.setattr(reaper, "PAUSE_MIN_S", 3600)
    monkeypatch.setattr(reaper, "PAUSE_MAX_S", 3600)
    opened().put("run", "k", 1, ttl=10)
    db = opened()
    clock.us += 10_000_000
    assert ways_to_see(db, "k") == {False}
    clock.us = START_US
    db = opened()
    assert ways_to_see(db, "k") == {False}
    # Nor did a store write anything whose core was replaced since.
    clock.us += 20_000_000
    db.put("run", "other", 1, ttl=10)
    db.recover()
    clock.us += 20_000_000
    assert ways_to_see(db, "other") == {False}
    clock.us = START_US
    assert ways_to_see(opened(), "other") == {False}


def test_a_close_goes_well_where_the_time_that_was_reached_cannot_be_noted(tmp_path, clock, events):
    with open_on(FaultyDisk(tmp_path / "db"), clock=clock) as db:
        db.put("run", "k", 1, ttl=7200)
    disk = FaultyDisk(tmp_path / "db")
    with open_on(disk, clock=clock) as db:
        clock.us += HOUR_US
        assert db.get("run", "k") == 1
        fault = disk.fail("create", disk_full)
        db.close()
    assert fault.struck.is_set()
    assert len(told(events, "warning", "close_time_missing")) == 1


def test_a_store_that_asked_nobody_for_the_time_closes_without_a_trace(tmp_path, clock):
    with open_on(FaultyDisk(tmp_path / "db"), clock=clock) as db:
        db.put("run", "k", 1)
    clock.us += HOUR_US
    disk = FaultyDisk(tmp_path / "db")
    with open_on(disk, clock=clock) as db:
        assert db.get("run", "k") == 1
    assert disk.counts["create"] == disk.counts["append"] == disk.counts["rename"] == 0


@pytest.mark.parametrize("somebody_else_writes", [False, True])
def test_a_reaper_that_cannot_write_tries_ever_more_rarely(tmp_path, clock, monkeypatch, somebody_else_writes):
    pauses_s = queue.SimpleQueue()
    monkeypatch.setattr(CallerDispatcher, "post_later", lambda _self, delay_s, *_, **__: pauses_s.put(delay_s))
    disk = FaultyDisk(tmp_path / "db")
    with open_on(disk, clock=clock) as db:
        wake = db.directory.mailboxes["reaper"].tell
        db.put("run", "k", 1, ttl=0.01)
        assert pauses_s.get(timeout=FAILSAFE_S) == 0.1
        clock.us += 10_000
        disk.fail("append", disk_full, forever=True)
        for expected_s in (*(0.1 * 2**doublings for doublings in range(1, 10)), 60, 60, 60):
            wake(ReapDue())
            assert pauses_s.get(timeout=FAILSAFE_S) == pytest.approx(expected_s)
        disk.repair()
        if somebody_else_writes:
            # Nothing is left for the reaper, who must not take the trouble for lasting because of that.
            db.put("run", "k", 2)
        wake(ReapDue())
        db.put("run", "l", 1, ttl=0.01)
        assert pauses_s.get(timeout=FAILSAFE_S) == 0.1
        assert db.stats().keys == 1 + somebody_else_writes


def deadlines_of(db):
    return db.directory.mailboxes["reaper"].mailbox.actor._expiring


def test_the_reaper_keeps_no_deadlines_of_keys_that_are_gone(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(reaper, "KEYS_PER_LOOK_MAX", 10)
    with open_on(FaultyDisk(tmp_path / "db"), clock=clock) as db:
        for number in range(20):
            db.put("stays", f"k{number}", number, ttl=1000)
        for _ in range(200):
            run = db.begin_run()
            for key in ("deleted", "kept", "dropped"):
                db.put(run, key, 1, ttl=1000)
            db.delete(run, "deleted")
            db.put(run, "kept", 4)
            db.runs.delete_run(run)
        deadlines_of(db).check()
        assert 20 <= len(deadlines_of(db)) <= 2 * 20 + 10
        clock.us += 1_000_000_000
        db.directory.mailboxes["reaper"].tell(ReapDue())
        deadline_s = time.monotonic() + FAILSAFE_S
        while deadlines_of(db):
            assert time.monotonic() < deadline_s, "deadlines of keys that are there have been forgotten, or are kept"
            db.put("looking", "k", 1)
        assert db.kv.list("stays") == []


def test_the_reaper_learns_of_a_deadline_that_is_back_since_commits_were_lost(tmp_path, clock, monkeypatch):
    # The log ends where its content does.
    monkeypatch.setattr(log_file, "RESERVE_BYTES", 0)
    disk = FaultyDisk(tmp_path / "db")
    with open_on(disk, clock=clock, durability="never") as db:
        db.put("run", "k", 1, ttl=1000)
        db.flush()
        (segment,) = (tmp_path / "db").glob("*.wal")
        durable_bytes = segment.stat().st_size
        db.put("run", "k", 2, ttl=10)
        os.truncate(segment, durable_bytes)
        db.recover()
        assert db.get_versioned("run", "k").value == 1
        clock.us += 10_000_000
        db.directory.mailboxes["reaper"].tell(ReapDue())
        db.put("looking", "k", 1)
        assert deadlines_of(db).first_us() == START_US + 1_000_000_000


def test_the_reaper_learns_of_a_deadline_whose_commit_was_in_flight_at_a_restart(tmp_path, clock, monkeypatch):
    armed = [True]

    def fail_once(self, *commit):
        if armed:
            armed.clear()
            raise LookupError("once")
        committed(self, *commit)

    committed = Coordinator.committed
    monkeypatch.setattr(Coordinator, "committed", fail_once)
    with open_on(FaultyDisk(tmp_path / "db"), clock=clock) as db:
        assert db.put("run", "k", 1, ttl=10) == 1
        db.put("looking", "k", 1)
        assert deadlines_of(db).first_us() == START_US + 10_000_000


def test_a_run_of_which_everything_has_expired_holds_nothing(opened, clock):
    db = opened()
    db.put("expired", "k", 1, ttl=10)
    db.put("alive", "k", 1, ttl=10)
    db.put("alive", "before", 1, ttl=11)
    # What this one sees, the reaper leaves alone.
    with db.begin("run"):
        clock.us += 10_000_000
        assert db.unregistered_runs() == ["alive"]
        with pytest.raises(inmem.RunNotFoundError):
            db.export_run("expired", io.BytesIO())


def test_a_clock_that_steps_back_makes_nothing_expire_early(opened, clock):
    db = opened()
    db.put("run", "before", 1, ttl=10)
    clock.us -= HOUR_US
    db.put("run", "behind", 1, ttl=10)
    assert ways_to_see(db, "before") == ways_to_see(db, "behind") == {True}
    # Its ten seconds begin with the time that had been reached, not with what the clock says now.
    assert db.get_versioned("run", "behind").expires_at == START_US + 10_000_000
    clock.us = START_US + 9_999_999
    assert ways_to_see(opened(), "behind") == {True}


def test_a_running_transaction_keeps_the_time_of_its_beginning(opened, clock):
    db = opened()
    db.put("run", "k", 1, ttl=10)
    txn = db.begin("run")
    for jump_us in (HOUR_US, -2 * HOUR_US, 100 * HOUR_US):
        clock.us += jump_us
        assert txn.get("k") == 1
        assert [key for key, _ in txn.scan()] == ["k"]
    assert db.get("run", "k") is None


def test_the_times_of_events_never_decrease(opened, clock):
    db = opened()
    for number, jump_us in enumerate((0, HOUR_US, -2 * HOUR_US, 1, 1, 5 * HOUR_US, -5 * HOUR_US)):
        clock.us += jump_us
        if number % 3 == 2:
            db = opened()
        if number % 3 == 1:
            db.recover()
        db.events.append("run", "tick", number)
        db.events.append_many("run", [("tick", number), ("tick", number)])
    times = [event.timestamp for event in db.events.iter("run")]
    assert times == sorted(times)
    assert times[0] == START_US
    assert times[-1] == START_US + 4 * HOUR_US + 2
    assert db.events.verify_chain("run").is_valid


def test_cells_runs_and_traces_never_get_younger(opened, clock):
    db = opened()
    run = db.begin_run("run-1")
    seen = []
    for jump_us in (HOUR_US, -3 * HOUR_US, 10):
        clock.us += jump_us
        db.cells.set(run, "cell", 1)
        db.runs.add_tags(run, [f"tag {jump_us}"])
        trace = db.traces.record(run, inmem.Thought("when"))
        seen.append((db.cells.read(run, "cell").updated_at, db.runs.get_run(run).updated_at, trace.timestamp))
        db = opened()
    assert seen == sorted(seen)
    assert set(seen) == {(START_US + HOUR_US,) * 3}


def is_stored(db, key):
    table = db._client.snapshot().table("run", Tag.KV)
    entry = table.get(key.encode())
    return entry is not None and entry[1] is not None


def test_the_reaper_follows_jumps_and_spares_what_a_running_transaction_sees(opened, clock, monkeypatch):
    rounds = threading.Semaphore(0)
    reap = reaper.Reaper._reap

    def count(actor, before_us):
        reap(actor, before_us)
        rounds.release()

    monkeypatch.setattr(reaper.Reaper, "_reap", count)
    db = opened()
    db.put("run", "k", 1, ttl=10)
    txn = db.begin("run")
    clock.us += HOUR_US
    for _ in range(5):
        assert rounds.acquire(timeout=FAILSAFE_S)
    assert is_stored(db, "k")
    assert txn.get("k") == 1
    txn.put("seen", txn.get("k"))
    txn.commit()
    # The clock steps back behind the deadline; the time that had been reached counts.
    clock.us -= 2 * HOUR_US
    deadline_s = time.monotonic() + FAILSAFE_S
    while is_stored(db, "k"):
        assert time.monotonic() < deadline_s, "the expired key is not reaped"
        db.put("run", "meanwhile", 1)
    assert db.get("run", "seen") == 1
    assert not is_stored(opened(), "k")


def test_a_clock_before_1970_is_taken_for_its_beginning(opened, clock):
    clock.us = -HOUR_US
    db = opened()
    db.put("run", "k", 1)
    assert db.checkpoint() == 1
    assert db.put("run", "k", 2) == 2
    assert opened().get("run", "k") == 2


def test_a_lease_that_is_renewed_takes_one_place_and_not_one_for_each_time():
    with inmem.open(":memory:") as db:
        deadlines = db._client.directory.mailboxes["reaper"].mailbox.actor._expiring
        for number in range(50):
            db.put("run", "lease", number, ttl=3600)
        assert len(deadlines) == 1


def test_more_than_one_round_holds_is_reaped_without_a_pause(opened, clock, monkeypatch):
    db = opened()
    dispatcher = db._client.directory.dispatcher
    post_later, timers = dispatcher.post_later, []

    def noting(delay_s, mailbox, message, *, idle=False):
        timers.append(type(message).__name__)
        post_later(delay_s, mailbox, message, idle=idle)

    monkeypatch.setattr(reaper, "KEYS_PER_COMMIT_MAX", 10)
    for number in range(95):
        db.put("run", f"k{number}", number, ttl=10)
    watcher = db.watch("run", "kv", timeout=FAILSAFE_S)
    monkeypatch.setattr(dispatcher, "post_later", noting)
    clock.us += 3600 * 1_000_000
    assert {next(watcher).key for _ in range(95)} == {f"k{number}" for number in range(95)}
    assert timers.count("ReapDue") <= 2


def test_keys_that_others_keep_writing_do_not_keep_the_reaper_from_all_others(opened, clock, monkeypatch):
    reap = reaper.reap

    def losing(txn, run, keys, before_us):
        count = reap(txn, run, keys, before_us)
        if b"contended" in keys:
            # As if somebody had just written it: it is not at the version that this commit has to find.
            txn.view(run, Tag.KV).cas(b"contended", 0, b"")
        return count

    monkeypatch.setattr(reaper, "reap", losing)
    db = opened()
    for number in range(20):
        db.put("run", f"k{number}", number, ttl=10)
    db.put("run", "contended", 1, ttl=11)
    watcher = db.watch("run", "kv", timeout=FAILSAFE_S)
    clock.us += 3600 * 1_000_000
    assert {next(watcher).key for _ in range(20)} == {f"k{number}" for number in range(20)}
    assert db.get("run", "contended") is None


class CountedRoot(UserDict):
    """A root that counts the tables somebody has come to."""

    seen = 0

    def as_dict(self):
        return self

    def items(self):
        for item in self.data.items():
            self.seen += 1
            yield item


@pytest.mark.parametrize("primitive", ["events", "kv"])
def test_each_look_for_deadlines_after_an_opening_is_a_short_one(monkeypatch, primitive):
    """However many runs there are, and whatever they hold: everything else waits meanwhile."""
    monkeypatch.setattr(reaper, "KEYS_PER_LOOK_MAX", 10)
    with inmem.open(":memory:") as db:
        with db.begin("run") as txn:
            for number in range(95):
                accessors = txn.on(f"run-{number}")
                if primitive == "kv":
                    accessors.kv.put("k", number, ttl=3600)
                else:
                    accessors.events.append("type", number)
        snapshot = db._client.snapshot()
        roots = tuple(CountedRoot(root.as_dict()) for root in snapshot.roots)
        found = reaper._expiring_entries(Snapshot(snapshot.version, roots))
        looks = []
        before = -1
        while before != (before := sum(root.seen for root in roots)):
            looks.append(list(islice(found, reaper.KEYS_PER_LOOK_MAX)))
            assert sum(root.seen for root in roots) <= before + reaper.KEYS_PER_LOOK_MAX
        deadlines = [entry for look in looks for entry in look if entry[0]]
    assert len({run for _, run, _ in deadlines}) == len(deadlines) == (95 if primitive == "kv" else 0)


def test_whatever_has_expired_before_an_opening_is_reaped_by_short_looks(opened, clock, monkeypatch):
    """All of it, and not only what the first look finds."""
    monkeypatch.setattr(reaper, "KEYS_PER_LOOK_MAX", 10)
    look, entries, looks = reaper.Reaper._look_through_recovered, reaper._expiring_entries, []

    def noting(actor):
        looks.append(0)
        look(actor)

    def counted(snapshot):
        for entry in entries(snapshot):
            looks[-1] += 1
            yield entry

    db = opened()
    for number in range(95):
        db.put("run", f"k{number}", number, ttl=10)
    version = db.version
    db.close()
    clock.us += 3600 * 1_000_000
    monkeypatch.setattr(reaper.Reaper, "_look_through_recovered", noting)
    monkeypatch.setattr(reaper, "_expiring_entries", counted)
    db = opened()
    watcher = db.watch("run", "kv", after_version=version, timeout=FAILSAFE_S)
    deleted = [next(watcher) for _ in range(95)]
    assert {change.kind for change in deleted} == {"delete"}
    assert {change.key for change in deleted} == {f"k{number}" for number in range(95)}
    # One table, and the 95 keys in it.
    assert looks == [10] * 9 + [6]
    assert db.stats().keys == 0
