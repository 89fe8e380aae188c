"""The change feed as messages: told in order, as much as the watcher has room for, whatever fails."""

import threading

import pykka
import pytest

import inmem
from inmem import UsageError, WatchGapError
from inmem.actors import restart_limit, watch_actor, watch_cursor
from inmem.actors.messages.watching import FeedGrown, LookOn, Taken
from inmem.actors.watch_actor import WatchActor
from inmem.engine import retained_commits
from inmem.messages import Changed, PutKey, Unwatch, Watch, WatchEnded
from tests.actors.stage import FAILSAFE_S
from tests.actors.test_failpoints import Failpoint
from tests.log_events import told


class Listener(pykka.ThreadingActor):
    """Keeps what it is told; while its gate is closed it is busy with the message it has."""

    def __init__(self, until_version):
        super().__init__()
        self.told = []
        self.gate = threading.Event()
        self.gate.set()
        self.ended = threading.Event()
        self.enough = threading.Event()
        self.until_version = until_version
        self.dies = False
        self.thread = None

    def on_receive(self, message):
        self.thread = threading.current_thread()
        if not self.gate.wait(FAILSAFE_S):
            raise TimeoutError
        if self.dies:
            raise ValueError
        self.told.append(message)
        if isinstance(message, WatchEnded):
            self.ended.set()
        if message.version >= self.until_version:
            self.enough.set()

    def changes(self):
        assert self.enough.wait(FAILSAFE_S)
        return [change for message in self.told if isinstance(message, Changed) for change in message.changes]


@pytest.fixture(params=["caller", "threads"])
def dispatcher(request):
    return request.param


@pytest.fixture
def store(dispatcher):
    ref = inmem.spawn(":memory:", dispatcher=dispatcher)
    yield ref
    if ref.is_alive():
        ref.stop()


@pytest.fixture
def listen():
    started = []

    def start(until_version):
        ref = Listener.start(until_version)
        listener = ref._actor_weakref()
        started.append((ref, listener))
        return ref, listener

    yield start
    for ref, listener in started:
        listener.gate.set()
        ref.stop()


def put(store, *numbers):
    for number in numbers:
        store.ask(PutKey("run", f"k{number}", number))


def test_a_watcher_is_told_everything_in_order(store, listen):
    put(store, 0)
    ref, listener = listen(until_version=50)
    assert store.ask(Watch(ref)) == 1
    put(store, *range(1, 50))
    changes = listener.changes()
    assert [change.value for change in changes] == list(range(1, 50))
    assert [message.version for message in listener.told] == [message.changes[-1].version for message in listener.told]


def test_a_watcher_begins_where_it_says(store, listen):
    put(store, *range(6))
    ref, listener = listen(until_version=6)
    store.tell(Watch(ref, "run", "kv", 2))
    assert [change.value for change in listener.changes()] == [2, 3, 4, 5]


def test_a_filter_leaves_out_what_does_not_concern(store, listen):
    ref, listener = listen(until_version=3)
    store.ask(Watch(ref, run="other"))
    store.ask(PutKey("run", "a", 1))
    store.ask(PutKey("run", "b", 1))
    store.ask(PutKey("other", "c", 1))
    assert [change.key for change in listener.changes()] == ["c"]


def test_a_slow_watcher_is_not_flooded(store, listen, monkeypatch):
    monkeypatch.setattr(watch_actor, "CHANGES_PER_MESSAGE", 5)
    ref, listener = listen(until_version=100)
    listener.gate.clear()
    store.ask(Watch(ref))
    put(store, *range(100))
    # At most the one that it is busy with, one behind it, and the store's own message that says when it is done.
    assert ref.actor_inbox.qsize() <= 2
    listener.gate.set()
    assert [change.value for change in listener.changes()] == list(range(100))
    assert all(len(message.changes) <= 5 for message in listener.told)


@pytest.mark.parametrize("primitive", [None, "kv"])
def test_a_message_holds_whole_commits_even_where_they_are_larger(store, listen, monkeypatch, primitive):
    """So its version is one to go on from: nothing of that commit is still to come."""
    monkeypatch.setattr(watch_actor, "CHANGES_PER_MESSAGE", 5)
    ref, listener = listen(until_version=12)
    sizes = [7, 1, 2, 7, 3, 1, 1, 1, 7, 7, 5, 1]
    with inmem.connect(store) as db:
        for size in sizes:
            with db.begin("run") as txn:
                for number in range(size):
                    txn.put(f"k{number}", size)
    store.ask(Watch(ref, primitive=primitive, after_version=0))
    expected = [(version, f"k{number}") for version, size in enumerate(sizes, 1) for number in range(size)]
    assert [(change.version, change.key) for change in listener.changes()] == expected
    # As many commits as it takes to come to five changes.
    versions = [sorted({change.version for change in message.changes}) for message in listener.told]
    assert versions == [[1], [2, 3, 4], [5, 6, 7], [8, 9], [10], [11], [12]]
    assert [message.version for message in listener.told] == [seen[-1] for seen in versions]


def bells_of(store):
    """Count what the next commit will have to ring."""
    with inmem.connect(store) as db:
        return len(db._client.published.feed._waiting)


def test_a_watcher_behind_much_that_does_not_concern_it_hangs_up_one_bell(store, listen, monkeypatch):
    """Each commit rings all there are, so one for every look made every commit slower, for good."""
    monkeypatch.setattr(watch_cursor, "COMMITS_PER_LOOK", 4)
    put(store, *range(100))
    store.ask(PutKey("other", "k", 1))
    refs = [listen(until_version=101) for _ in range(2)]
    for ref, _ in refs:
        store.ask(Watch(ref, run="other", after_version=0))
    for _, listener in refs:
        assert [change.version for change in listener.changes()] == [101]
    assert bells_of(store) == 1


def test_a_successor_takes_down_the_bell_of_its_predecessor(store, listen, monkeypatch):
    monkeypatch.setattr(restart_limit, "RESTARTS_MAX", 10_000)
    failpoint = Failpoint(monkeypatch, WatchActor)
    ref, listener = listen(until_version=1)
    other, _ = listen(until_version=1)
    store.ask(Watch(ref))
    for _ in range(5):
        failpoint.arm(Unwatch, "before")
        with pytest.raises(inmem.TransactionAbortedError):
            store.ask(Unwatch(other))
        assert store.ask(Unwatch(other)) == 0, "the successor is there"
    assert bells_of(store) <= 1
    put(store, 0)
    assert [change.value for change in listener.changes()] == [0]


def test_whoever_was_told_nothing_can_begin_again_at_the_end(store, listen):
    ref, listener = listen(until_version=10**9)
    store.ask(Watch(ref, run="other"))
    put(store, *range(20))
    store.stop()
    assert listener.ended.wait(FAILSAFE_S)
    [ended] = listener.told
    assert (ended.version, type(ended.error)) == (20, inmem.DatabaseClosedError)


def test_whoever_is_too_slow_is_told_that_it_is_over(store, listen, monkeypatch):
    monkeypatch.setattr(retained_commits, "RETAINED_BYTES_MAX", 2_000)
    ref, listener = listen(until_version=10**9)
    listener.gate.clear()
    store.ask(Watch(ref))
    put(store, *range(100))
    listener.gate.set()
    assert listener.ended.wait(FAILSAFE_S)
    *_, ended = listener.told
    assert isinstance(ended.error, inmem.WatchLaggedError)
    assert ended.version == ended.error.version == listener.told[-2].version
    assert store.ask(Unwatch(ref)) == 0


def test_a_gap_is_refused_to_who_asks_and_told_to_who_tells(store, listen):
    ref, listener = listen(until_version=7)
    with pytest.raises(WatchGapError):
        store.ask(Watch(ref, after_version=7))
    store.tell(Watch(ref, after_version=7))
    assert listener.ended.wait(FAILSAFE_S)
    [ended] = listener.told
    assert (ended.version, type(ended.error)) == (7, WatchGapError)


def test_unwatch_ends_all_of_a_watchers_watches(store, listen):
    ref, listener = listen(until_version=1)
    other, other_listener = listen(until_version=2)
    store.ask(Watch(ref))
    store.ask(Watch(ref, primitive="events"))
    store.ask(Watch(other))
    put(store, 0)
    assert [change.value for change in listener.changes()] == [0]
    assert store.ask(Unwatch(ref)) == 2
    put(store, 1)
    assert [change.value for change in other_listener.changes()] == [0, 1]
    assert len(listener.told) == 1


def test_a_dead_watcher_is_forgotten(store, listen, events):
    ref, _ = listen(until_version=1)
    busy, busy_listener = listen(until_version=1)
    other, other_listener = listen(until_version=2)
    for each in (ref, busy, other):
        store.ask(Watch(each))
    busy_listener.gate.clear()
    ref.stop()
    put(store, 0)
    busy_listener.gate.set()
    busy.stop()
    put(store, 1)
    assert [change.value for change in other_listener.changes()] == [0, 1]
    assert store.ask(Unwatch(ref)) == store.ask(Unwatch(busy)) == 0
    assert store.ask(Unwatch(other)) == 1
    assert {"ref": str(ref)} in told(events, "info", "watcher_gone")


def test_a_close_tells_the_rest_and_the_end(dispatcher, listen, monkeypatch):
    monkeypatch.setattr(watch_actor, "CHANGES_PER_MESSAGE", 3)
    store = inmem.spawn(":memory:", dispatcher=dispatcher)
    ref, listener = listen(until_version=10**9)
    listener.gate.clear()
    store.ask(Watch(ref))
    put(store, *range(20))
    store.stop()
    listener.gate.set()
    assert listener.ended.wait(FAILSAFE_S)
    *told, ended = listener.told
    assert [change.value for message in told for change in message.changes] == list(range(20))
    assert (ended.version, type(ended.error)) == (20, inmem.DatabaseClosedError)


def test_a_close_tells_the_rest_behind_much_that_does_not_concern_the_watcher(dispatcher, listen):
    store = inmem.spawn(":memory:", dispatcher=dispatcher)
    ref, listener = listen(until_version=10**9)
    listener.gate.clear()
    store.ask(Watch(ref, run="run"))
    put(store, 0)
    foreign = watch_cursor.COMMITS_PER_LOOK + 1
    for number in range(foreign):
        store.ask(PutKey("other", "k", number))
    put(store, 1)
    store.stop()
    listener.gate.set()
    assert listener.ended.wait(FAILSAFE_S)
    *told, ended = listener.told
    assert [change.value for message in told for change in message.changes] == [0, 1]
    assert (ended.version, type(ended.error)) == (foreign + 2, inmem.DatabaseClosedError)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("message", [FeedGrown, LookOn, Taken])
def test_a_watch_actor_that_fails_leaves_no_gap_and_repeats_nothing(store, listen, monkeypatch, message, when):
    monkeypatch.setattr(restart_limit, "RESTARTS_MAX", 10_000)
    # So each commit that does not concern the watcher ends a look.
    monkeypatch.setattr(watch_cursor, "COMMITS_PER_LOOK", 1)
    failpoint = Failpoint(monkeypatch, WatchActor)
    for _ in range(5):
        store.ask(PutKey("other", "k", 1))
    ref, listener = listen(until_version=25)
    failpoint.arm(message, when, times=3)
    store.ask(Watch(ref, run="run", after_version=0))
    put(store, *range(20))
    assert failpoint.fired.wait(FAILSAFE_S)
    assert [change.value for change in listener.changes()] == list(range(20))


def test_a_watch_actor_that_keeps_failing_says_so(store, listen, monkeypatch):
    failpoint = Failpoint(monkeypatch, WatchActor)
    ref, listener = listen(until_version=10**9)
    store.ask(Watch(ref))
    failpoint.arm(FeedGrown, "before", times=100)
    put(store, 0)
    assert listener.ended.wait(FAILSAFE_S)
    assert type(listener.told[-1].error) is inmem.StoreFailedError
    failpoint.disarm()
    assert store.ask(Watch(ref)) == 1, "whoever comes now is served"


@pytest.mark.parametrize("ref", [None, "ref", 5])
def test_who_is_to_be_told_must_be_an_actor(ref):
    with pytest.raises(UsageError):
        Watch(ref)
    with pytest.raises(UsageError):
        Unwatch(ref)


@pytest.mark.parametrize("bad", [{"run": ""}, {"primitive": "x"}, {"after_version": -1}])
def test_a_bad_argument_is_refused_where_the_message_is_made(listen, bad):
    ref, _ = listen(until_version=0)
    with pytest.raises(UsageError):
        Watch(ref, **bad)


def test_a_number_is_not_given_again_after_a_failure(store, listen, monkeypatch):
    """What comes back for a watcher that is gone would be taken for the end of the next one."""
    gone, gone_listener = listen(until_version=10**9)
    gone_listener.gate.clear()
    store.ask(Watch(gone))
    put(store, 0)
    assert store.ask(Unwatch(gone)) == 1
    failpoint = Failpoint(monkeypatch, WatchActor)
    failpoint.arm(Unwatch, "before")
    with pytest.raises(inmem.TransactionAbortedError):
        store.ask(Unwatch(gone))
    ref, listener = listen(until_version=2)
    store.ask(Watch(ref))
    # The probe behind its first message comes back unanswered now.
    gone_listener.dies = True
    gone_listener.gate.set()
    assert gone.actor_stopped.wait(FAILSAFE_S)
    gone_listener.thread.join(FAILSAFE_S)
    put(store, 1)
    assert [change.value for change in listener.changes()] == [1]


def test_a_watcher_that_dies_over_what_it_was_told_is_said_to_be_gone(store, listen, events):
    ref, listener = listen(until_version=10**9)
    other, other_listener = listen(until_version=2)
    store.ask(Watch(other))
    listener.gate.clear()
    listener.dies = True
    store.ask(Watch(ref))
    put(store, 0)
    listener.gate.set()
    assert ref.actor_stopped.wait(FAILSAFE_S)
    listener.thread.join(FAILSAFE_S)
    put(store, 1)
    assert len(other_listener.changes()) == 2
    assert store.ask(Unwatch(ref)) == 0
    assert told(events, "info", "watcher_gone") == [{"ref": str(ref)}]
