"""`db.watch()`: what is committed, in commit order, without gap or repetition, however it ends."""

import contextlib
import os
import sys
import threading
from random import Random

import pytest

import inmem
from inmem import ChangeKind, UsageError, WatchGapError, WatchLaggedError
from inmem.actors import restart_limit
from inmem.actors.core.coordinator import Coordinator
from inmem.actors.core.log_writer import LogWriter
from inmem.actors.core.shard_actor import ShardActor
from inmem.actors.messages.core import Append, Applied, Validate
from inmem.actors.proxies.watcher import Watcher
from inmem.engine import retained_commits
from tests.actors.stage import FAILSAFE_S, in_threads
from tests.actors.test_failpoints import Failpoint
from tests.guards.counting import messages


@pytest.fixture(params=["caller", "threads"])
def dispatcher(request):
    return request.param


@pytest.fixture
def db(dispatcher):
    with inmem.open(":memory:", dispatcher=dispatcher, shards=2) as opened:
        yield opened


def drained(db, **wanted):
    return list(db.watch(timeout=0, **wanted))


class Bell:
    """Hangs in the feed as a watcher does, and notes what can be watched and what can be read each time it rings."""

    def __init__(self, db):
        self.db = db
        self.published = db.directory.published
        self.heard = []
        self.published.feed.wait(self)

    def set(self, _value=None):
        if not self.published.is_closed:
            self.heard.append((self.published.feed.commits.version, self.db.version, self.db.get("run", "k")))
            self.published.feed.wait(self)


def until_somebody_waits(feed):
    pause = threading.Event()
    while not feed._waiting:
        pause.wait(0.001)


def state_of(db):
    """Everything that users can see, as a dict."""
    state = {}
    snapshot = db._client.snapshot()
    for run in {run for run, _, _ in snapshot.tables() if run}:
        state |= {(run, "kv", key): value for key, value in db.kv.list_with_values(run)}
        state |= {(run, "events", event.sequence): event for event in db.events.iter(run)}
        state |= {(run, "cells", name): db.cells.read(run, name) for name in db.cells.list(run)}
        state |= {(run, "traces", name): db.traces.get(run, name) for name in db.traces.list(run)}
        if db.runs.get_run(run) is not None:
            state[run, "runs", run] = db.runs.get_run(run)
    return state


def fold(changes):
    """What a watcher knows who has seen only these changes."""
    state = {}
    for change in changes:
        place = change.run, change.primitive, change.key
        if change.kind is ChangeKind.PUT:
            state[place] = change.value
        elif change.kind is ChangeKind.DELETE:
            state.pop(place, None)
        else:
            state = {known: value for known, value in state.items() if known[0] != change.run}
    return state


def do_something(random, db):
    run = random.choice("abc")
    name = random.choice("xyz")
    with db.begin(run) as txn:
        for _ in range(random.randint(1, 4)):
            match random.randrange(10):
                case 0 | 1:
                    txn.kv.put(name, random.randrange(100), ttl=random.choice([None, 1000]))
                case 2:
                    txn.kv.delete(name)
                case 3:
                    txn.events.append(name, {"n": random.randrange(100)})
                case 4:
                    txn.cells.set(name, random.randrange(100))
                case 5:
                    txn.cells.delete(name)
                case 6:
                    txn.traces.record_with_options(inmem.Thought(name), tags=[name])
                case 7:
                    if txn.runs.get_run(run) is None:
                        txn.runs.create_run(run, tags=[name])
                case 8:
                    if txn.runs.get_run(run) is not None:
                        change = random.choice([txn.runs.add_tags, txn.runs.remove_tags])
                        change(run, [name])
                case 9:
                    if txn.runs.get_run(run) is not None and random.randrange(3) == 0:
                        txn.runs.delete_run(run)


@pytest.mark.parametrize("seed", range(8))
def test_who_has_seen_every_change_knows_the_state(db, seed):
    random = Random(seed)
    for _ in range(60):
        do_something(random, db)
    changes = drained(db, after_version=0)
    assert fold(changes) == state_of(db)
    versions = [change.version for change in changes]
    assert versions == sorted(versions)
    assert versions[-1] == db.version
    ends = [change.version for change in changes if change.is_last]
    assert ends == sorted(set(versions)), "each commit has one last change"


@pytest.mark.parametrize("primitive", ["kv", "events", "cells", "traces", "runs"])
def test_a_filter_leaves_out_the_others_and_nothing_else(db, primitive):
    random = Random(1)
    for _ in range(80):
        do_something(random, db)
    everything = drained(db, after_version=0)
    for run in ("a", None):
        wanted = [
            (change.version, change.run, change.key, change.kind)
            for change in everything
            if (run is None or change.run == run) and (change.primitive == primitive or change.kind is ChangeKind.DROP)
        ]
        told = drained(db, run=run, primitive=primitive, after_version=0)
        assert [(change.version, change.run, change.key, change.kind) for change in told] == wanted
    assert any(change.kind is ChangeKind.DROP for change in everything)


def test_a_change_says_what_the_commit_has_written(db):
    watcher = db.watch(timeout=0)
    db.put("run", "k", [1], ttl=60)
    deadline = db.get_versioned("run", "k").expires_at
    db.put("run", "k", [2])
    db.delete("run", "k")
    first, second, third = watcher
    assert (first.value, first.expires_at, first.version) == ([1], deadline, 1), "not what is there now"
    assert (second.value, second.expires_at, second.version) == ([2], None, 2)
    assert (third.value, third.kind) == (None, ChangeKind.DELETE)
    assert first.timestamp <= second.timestamp <= third.timestamp
    first.value.append("mine")
    assert first.value == [1]


def test_a_deleted_cell_is_deleted_to_its_watchers(db):
    watcher = db.watch(primitive="cells", timeout=0)
    db.cells.init("run", "phase", "a")
    db.cells.delete("run", "phase")
    db.cells.init("run", "phase", "b")
    assert [(change.kind, change.value and change.value.version) for change in watcher] == [
        ("put", 1),
        ("delete", None),
        ("put", 2),
    ]


def test_it_begins_at_the_call_or_behind_a_version(db):
    db.put("run", "a", 1)
    watcher = db.watch(timeout=0)
    db.put("run", "b", 2)
    db.put("run", "c", 3)
    assert [change.key for change in watcher] == ["b", "c"]
    assert [change.key for change in drained(db, after_version=0)] == ["a", "b", "c"]
    assert [change.key for change in drained(db, after_version=2)] == ["c"]
    assert drained(db, after_version=3) == []


def test_its_version_is_where_to_begin_again(db):
    watcher = db.watch(run="run", timeout=0)
    assert watcher.version == 0
    with db.begin("run") as txn:
        for number in range(3):
            txn.put(f"k{number}", number)
    for version in (0, 0, 1):
        change = next(watcher)
        assert watcher.version == version, "not before the whole commit was handed out"
        assert change.is_last == (version == 1)
    db.put("other", "k", 1)
    assert list(watcher) == []
    assert watcher.version == 2, "what does not concern it is behind it too"


def test_the_iteration_ends_with_the_timeout_and_can_be_taken_up_again(db):
    watcher = db.watch(timeout=0.01)
    assert list(watcher) == []
    db.put("run", "k", 1)
    assert [change.key for change in watcher] == ["k"]
    assert list(watcher) == []


def test_many_writers_and_watchers_see_one_order(db):
    watchers = [db.watch(timeout=FAILSAFE_S) for _ in range(3)]
    count = 4 * 30

    def write(name):
        for number in range(30):
            db.put(name, f"k{number}", number)

    def read(watcher):
        return [(change.version, change.run, change.key) for _, change in zip(range(count), watcher, strict=False)]

    results = in_threads(*[lambda w=w: read(w) for w in watchers], *[lambda n=n: write(n) for n in "abcd"])
    assert results[0] == results[1] == results[2]
    # Requests that wait at the same time share a commit.
    assert sorted({version for version, _, _ in results[0]}) == list(range(1, db.version + 1))
    assert [version for version, _, _ in results[0]] == sorted(version for version, _, _ in results[0])
    for name in "abcd":
        assert [key for _, run, key in results[0] if run == name] == [f"k{number}" for number in range(30)]


def test_a_waiting_watcher_is_woken(db):
    watcher = db.watch(timeout=FAILSAFE_S)
    feed = db._client.published.feed

    def write():
        until_somebody_waits(feed)
        db.put("run", "k", 1)

    change, _ = in_threads(lambda: next(watcher), write)
    assert change.key == "k"
    assert not feed._waiting, "nothing of it is left behind"


def test_a_second_thread_is_refused_while_one_waits(db):
    watcher = db.watch(timeout=FAILSAFE_S)
    feed = db._client.published.feed

    def look():
        until_somebody_waits(feed)
        try:
            with pytest.raises(UsageError, match="each needs a watcher of its own"):
                next(watcher)
        finally:
            db.put("run", "k", 1)

    change, _ = in_threads(lambda: next(watcher), look)
    assert change.key == "k"
    db.put("run", "l", 1)
    assert next(watcher).key == "l"


def test_of_two_threads_one_is_refused_wherever_in_the_call_the_other_is(db, monkeypatch):
    inside = most = 0

    def enter(_):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if threading.current_thread().name == "second":
            arrived.set()
            assert ended.wait(FAILSAFE_S)
        inside -= 1
        raise StopIteration

    def look():
        with contextlib.suppress(UsageError):
            next(watcher, None)
        arrived.set()

    def traced(frame, event, _):
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == stop_at:
                second.start()
                assert arrived.wait(FAILSAFE_S)
        return traced

    def first():
        sys.settrace(lambda frame, *_: traced if frame.f_code is Watcher.__next__.__code__ else None)
        with contextlib.suppress(UsageError):
            next(watcher, None)
        sys.settrace(None)
        ended.set()

    monkeypatch.setattr(Watcher, "_next", enter)
    watcher = db.watch(timeout=0)
    stop_at = 0
    while True:
        stop_at += 1
        seen = 0
        arrived, ended = threading.Event(), threading.Event()
        second = threading.Thread(target=look, name="second")
        thread = threading.Thread(target=first)
        thread.start()
        thread.join(FAILSAFE_S)
        if seen < stop_at:
            break
        second.join(FAILSAFE_S)
        assert most == 1
    assert stop_at > 3


def test_whoever_is_woken_reads_that_version_or_a_later_one(tmp_path, dispatcher):
    with inmem.open(tmp_path / "db", dispatcher=dispatcher, durability="never") as db:
        bell = Bell(db)
        in_threads(*[lambda: [db.put("run", "k", number) for number in range(50)]] * 3)
        version = db.version
        assert [heard for heard in bell.heard if heard[1] < heard[0]] == []
        assert bell.heard[-1] == (version, version, 49)
        # A restart of the core, and a reader that reads on, wake whoever waits as well.
        db.recover()
        with inmem.open(tmp_path / "db", read_only=True, dispatcher=dispatcher) as reader:
            readers = Bell(reader)
            db.put("run", "k", "last")
            reader.refresh()
        assert bell.heard[-2:] == [(version, version, 49), (version + 1, version + 1, "last")]
        assert readers.heard == [(version + 1, version + 1, "last")]


def test_whoever_is_too_slow_is_told_so(db, monkeypatch):
    monkeypatch.setattr(retained_commits, "RETAINED_BYTES_MAX", 2_000)
    watcher = db.watch(timeout=0)
    db.put("run", "k", 0)
    assert next(watcher).version == 1
    for number in range(50):
        db.put("run", "k", number)
    for _ in range(2):
        with pytest.raises(WatchLaggedError) as caught:
            next(watcher)
        assert caught.value.version == watcher.version == 1
        assert 1 < caught.value.since < db.version
    with pytest.raises(WatchGapError):
        db.watch(after_version=caught.value.since - 1)
    assert [change.version for change in drained(db, after_version=caught.value.since)] == list(
        range(caught.value.since + 1, db.version + 1)
    )
    assert db._client.published.feed.commits._size_bytes <= 2_000


def test_a_watcher_costs_the_writer_no_message(db):
    def messages_of(work):
        with messages() as delivered:
            work()
        return len(delivered)

    def write():
        db.put("run", "k", 1)

    write()
    before = messages_of(write)
    watchers = [db.watch() for _ in range(10)]
    assert messages_of(write) == before
    assert [next(watcher).key for watcher in watchers] == ["k"] * 10


def test_closing_ends_it_once_everything_was_handed_out(dispatcher):
    db = inmem.open(":memory:", dispatcher=dispatcher)
    early, late = db.watch(), db.watch()
    seen_early, _ = in_threads(
        lambda: [change.key for change in early],
        lambda: ([db.put("run", f"k{number}", number) for number in range(20)], db.close()),
    )
    assert seen_early == [f"k{number}" for number in range(20)]
    assert [change.key for change in late] == seen_early, "also for one who begins to look afterwards"
    assert list(late) == []
    with pytest.raises(inmem.DatabaseClosedError):
        db.watch()


def test_closing_a_handle_or_the_watcher_itself_ends_it(dispatcher):
    store = inmem.spawn(":memory:", dispatcher=dispatcher)
    try:
        one, other = inmem.connect(store), inmem.connect(store)
        feed = other._client.published.feed
        watchers = one.watch(), other.watch()
        for watcher, close in zip(watchers, (one.close, watchers[1].close), strict=True):

            def close_when_it_waits(feed=feed, close=close):
                until_somebody_waits(feed)
                close()

            assert in_threads(lambda w=watcher: list(w), close_when_it_waits)[0] == []
        with other.watch() as watcher:
            other.put("run", "k", 1)
        assert list(watcher) == []
    finally:
        store.stop()


def test_after_reopening_it_goes_on_from_the_log(tmp_path):
    path = tmp_path / "db"
    with inmem.open(path) as db:
        for number in range(5):
            db.put("run", "k", number)
        watcher = db.watch(after_version=0)
        for _ in range(3):
            next(watcher)
        stood_at = watcher.version
    with inmem.open(path) as db:
        assert [change.value for change in drained(db, after_version=stood_at)] == [3, 4]
        assert [change.value for change in drained(db, after_version=0)] == [0, 1, 2, 3, 4]
        db.put("run", "k", 5)
        db.checkpoint()
        assert len(drained(db, after_version=0)) == 6, "what is retained is not what is in the log"
        db.put("run", "k", 6)
    with inmem.open(path) as db:
        with pytest.raises(WatchLaggedError) as caught:
            db.watch(after_version=5)
        assert caught.value.since == 6
        assert [change.value for change in drained(db, after_version=6)] == [6]
        with pytest.raises(WatchGapError) as gap:
            db.watch(after_version=8)
        assert not isinstance(gap.value, WatchLaggedError)
        assert (gap.value.version, gap.value.since) == (8, 7)
    with inmem.open(path, read_only=True) as db:
        assert [change.value for change in drained(db, after_version=6)] == [6]
        assert drained(db) == []


@pytest.mark.parametrize("kind", ["disk", "memory"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("actor", [(ShardActor, Validate), (LogWriter, Append), (Coordinator, Applied)])
def test_a_restart_in_the_middle_leaves_no_gap_and_repeats_nothing(
    tmp_path, dispatcher, monkeypatch, kind, when, actor
):
    monkeypatch.setattr(restart_limit, "RESTARTS_MAX", 10_000)
    actor_class, message = actor
    failpoint = Failpoint(monkeypatch, actor_class)
    path = ":memory:" if kind == "memory" else tmp_path / "db"
    with inmem.open(path, dispatcher=dispatcher, shards=2) as db:
        watcher = db.watch(timeout=0)
        changes = []
        for number in range(6):
            if number in (2, 4):
                failpoint.arm(message, when)
            db.put("run", "k", number)
            if number % 2:
                changes += watcher
        changes += watcher
        restarted = failpoint.fired.is_set()
        versions = [change.version for change in changes]
        assert versions == sorted(set(versions))
        assert {"k": changes[-1].value} == dict(db.kv.list_with_values("run"))
        # A failed attempt may have committed: then its change is told as well, once.
        values = [change.value for change in changes]
        assert sorted(set(values)) == list(range(6))
        assert values == sorted(values)
        db._client.published.feed.commits.check()
    assert restarted or (kind == "memory" and actor_class is LogWriter)


def test_losing_what_was_published_is_a_gap():
    """As `interval` and `never` may, when the disk fails: nobody goes on as if the lost commits were still there."""
    with inmem.open(":memory:") as db:
        for number in range(3):
            db.put("run", "k", number)
        watcher = db.watch(after_version=1, timeout=0)
        feed = db._client.published.feed
        feed.catch_up(retained_commits.RetainedCommits(2), 4)
        with pytest.raises(WatchGapError):
            next(watcher)
        assert feed.commits.version == feed.commits.since == 4


@pytest.mark.parametrize(
    "arguments",
    [
        {"primitive": "index"},
        {"primitive": 1},
        {"run": ""},
        {"run": 5},
        {"after_version": -1},
        {"after_version": "1"},
        {"after_version": True},
        {"timeout": -1},
        {"timeout": "long"},
    ],
)
def test_a_bad_argument_is_refused_at_the_call(db, arguments):
    with pytest.raises(UsageError):
        db.watch(**arguments)


def test_a_forked_child_does_not_follow_its_parent(db):
    watcher = db.watch(timeout=0)
    db.put("run", "k", 1)
    pid = os.fork()
    if not pid:
        try:
            next(watcher)
        except inmem.ForkedProcessError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert [change.key for change in watcher] == ["k"]


def test_an_expired_key_is_deleted_when_it_is_cleared_away(dispatcher):
    with inmem.open(":memory:", dispatcher=dispatcher) as db:
        watcher = db.watch(timeout=FAILSAFE_S)
        db.put("run", "k", 1, ttl=0.001)
        assert [next(watcher).kind, next(watcher).kind] == ["put", "delete"]


def test_it_says_what_it_is(db):
    watcher = db.watch()
    assert repr(watcher) == "<inmem.Watcher at version 0>"
    watcher.close()
    assert repr(watcher) == "<inmem.Watcher at version 0, closed>"
