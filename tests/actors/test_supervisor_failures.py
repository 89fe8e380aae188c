"""What replaces a failed actor may fail itself: it is tried again, and in the end nobody waits for ever."""

import contextlib
import threading
import time

import pytest

import inmem
from inmem.actors.core import core, core_keeper
from inmem.actors.core.coordinator import Coordinator
from inmem.actors.core.core_keeper import CoreKeeper
from inmem.actors.core.settlement import Settlement
from inmem.actors.core.transaction_registry import TransactionRegistry
from inmem.actors.dispatch.actor import StoreActor
from inmem.actors.dispatch.decision_reply import DecisionReply
from inmem.actors.dispatch.mailbox import Mailbox
from inmem.actors.messages.core import Appended
from inmem.actors.messages.kv import PutKey
from inmem.actors.messages.transactions import Commit
from inmem.actors.requests import primitive_keeper
from inmem.actors.requests.event_actor import EventActor
from inmem.actors.requests.kv_actor import KVActor
from inmem.actors.requests.primitive_actor import PrimitiveActor
from inmem.actors.requests.primitive_keeper import PrimitiveKeeper
from inmem.actors.restart_limit import RESTARTS_MAX
from inmem.actors.supervisor import Supervisor
from tests.actors.stage import DISPATCHERS, FAILSAFE_S, in_threads

STEPS = {
    "fail": (Coordinator, "_commit", CoreKeeper, "fail"),
    "note halted": (Coordinator, "_commit", CoreKeeper, "note_halted"),
    "take over debts": (Coordinator, "_commit", Settlement, "take_over"),
    "rebuild": (Coordinator, "_commit", CoreKeeper, "_rebuild"),
    "read the log": (Coordinator, "_commit", CoreKeeper, "_read_log"),
    "start": (Coordinator, "_commit", CoreKeeper, "start"),
    "start the actors": (Coordinator, "_commit", core_keeper, "start_core"),
    "make the last actor": (Coordinator, "_commit", core, "Coordinator"),
    "settle": (Coordinator, "_commit", Settlement, "settle"),
    "judge": (Coordinator, "_commit", Settlement, "judge"),
    "pay": (Coordinator, "_commit", Settlement, "_pay"),
    "replace": (Coordinator, "_commit", Supervisor, "_replace"),
    "supervise a halt": (Coordinator, "_commit", Supervisor, "_note_halted"),
    "replace a primitive actor": (KVActor, "perform", PrimitiveKeeper, "replace"),
    "make a primitive actor": (KVActor, "perform", PrimitiveKeeper, "_make"),
}
"""Which actor fails where, and what then fails in replacing it."""


class BrokenError(Exception):
    """Nothing that any handler expects."""


class Breaking:
    """Makes the two functions of a step raise, as often as `left` says of each by its name."""

    def __init__(self, monkeypatch, step):
        self._monkeypatch = monkeypatch
        self.left = {}
        actor_class, self.actors, owner, self.replacing = STEPS[step]
        self._plant(actor_class, self.actors)
        self._plant(owner, self.replacing)

    def arm(self, times):
        """Have the actor fail once, and its replacement so many times."""
        self.left = {self.actors: 1, self.replacing: times}

    def _plant(self, owner, name):
        original = getattr(owner, name)

        def breaking(*args, **named):
            if self.left.get(name, 0) > 0:
                self.left[name] -= 1
                raise BrokenError(name)
            return original(*args, **named)

        self._monkeypatch.setattr(owner, name, breaking)


def answer_of(work):
    try:
        return work()
    except inmem.InmemError as error:
        return error


@pytest.fixture(params=["memory", "disk"])
def place(request, tmp_path):
    return ":memory:" if request.param == "memory" else tmp_path / "db"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_replacement_that_fails_once_is_tried_again(place, dispatcher, step, monkeypatch):
    breaking = Breaking(monkeypatch, step)
    with inmem.open(place, dispatcher=dispatcher) as db:
        db.put("run", "before", 1)
        breaking.arm(1)
        in_threads(lambda: answer_of(lambda: db.put("run", "k", 1)))
        (version,) = in_threads(lambda: db.put("run", "after", 1))
        assert set(breaking.left.values()) == {0}
        assert version == db.version
        assert db.get("run", "before") == 1
        assert db.verify().is_valid


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_halt_that_is_cut_short_after_some_have_been_told_is_told_to_the_others(dispatcher, monkeypatch, tmp_path):
    told = []

    def halt_or_fail(number):
        told.append(number)
        if len(told) == 3:
            # Those who have been told may have halted before this is tried again.
            until(lambda: dispatcher == "caller" or len(halted) == 2)
            raise BrokenError
        return halt_class(number)

    def note_halted(self, *args):
        halted.append(args)
        note(self, *args)

    halted = []
    halt_class, note = core_keeper.Halt, StoreActor._halt
    monkeypatch.setattr(core_keeper, "Halt", halt_or_fail)
    monkeypatch.setattr(StoreActor, "_halt", note_halted)
    with inmem.open(tmp_path / "db", dispatcher=dispatcher) as db:
        assert in_threads(db.recover) == [None]
        assert in_threads(lambda: db.put("run", "k", 1)) == [1]
        assert len(told) > 3


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_what_has_committed_is_not_called_aborted_though_the_next_core_has_begun_when_it_is_judged(
    dispatcher, monkeypatch, tmp_path
):
    """Judged by the salt of the core that is down, whatever of the rebuilding had been done when it was cut short."""

    def fail_over_appended(self, message):
        if type(message) is Appended and failing:
            failing.pop()
            cutting.append(True)
            raise BrokenError("the log has it")
        return handle(self, message)

    def start_and_be_cut_short(self, *args, **named):
        start(self, *args, **named)
        if cutting:
            cutting.pop()
            raise BrokenError("all is done but to note it")

    failing, cutting = [], []
    handle, start = Coordinator.on_receive, CoreKeeper.start
    monkeypatch.setattr(Coordinator, "on_receive", fail_over_appended)
    monkeypatch.setattr(CoreKeeper, "start", start_and_be_cut_short)
    with inmem.open(tmp_path / "db", dispatcher=dispatcher) as db:
        failing.append(True)
        (version,) = in_threads(lambda: db.transaction("run", lambda txn: txn.put("k", 1)) or db.version)
        assert not failing
        assert not cutting
        assert (version, db.get("run", "k"), db.stats().commits) == (1, 1, 1)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_replacement_that_always_fails_ends_the_store_and_everybody_is_told(place, dispatcher, step, monkeypatch):
    breaking = Breaking(monkeypatch, step)
    db = inmem.open(place, dispatcher=dispatcher)
    db.put("run", "before", 1)
    breaking.arm(10**9)
    puts = [lambda: answer_of(lambda: db.put("run", "k", 1))] * 2
    transactions = [lambda: answer_of(lambda: db.transaction("run", lambda txn: txn.put("k", 2)))] * 2
    answers = in_threads(*puts, *transactions)
    assert all(answer is None or type(answer) is int or isinstance(answer, inmem.InmemError) for answer in answers)
    (late,) = in_threads(lambda: answer_of(lambda: db.put("run", "after", 1)))
    assert isinstance(late, inmem.InmemError)
    in_threads(lambda: answer_of(db.close))
    breaking.left = {}
    if place != ":memory:":
        # Nothing that was acknowledged is lost. Threads may be in the middle of a file: the folder stays locked.
        with pytest.raises(inmem.DatabaseLockedError):
            inmem.open(place)
        with inmem.open(place, read_only=True) as db:
            assert db.get("run", "before") == 1


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_who_takes_the_place_of_a_stand_in_is_made_again_if_that_fails(dispatcher, monkeypatch):
    breaking = Breaking(monkeypatch, "make a primitive actor")
    with inmem.open(":memory:", dispatcher=dispatcher) as db:
        breaking.left = {"perform": RESTARTS_MAX + 1}
        answers = [answer_of(lambda: db.put("run", "k", 1)) for _ in range(RESTARTS_MAX + 2)]
        assert isinstance(answers[-1], inmem.StoreFailedError)
        breaking.left = {"_make": 1}
        in_threads(db.recover)
        assert in_threads(lambda: db.put("run", "k", 2)) == [1]
        assert breaking.left == {"_make": 0}


class Crowd:
    """Puts to one store that come at once, the first few behind a commit in flight or behind nobody at all."""

    def __init__(self, db, keys):
        self.directory = db._client.directory
        self.mailbox = self.directory.mailboxes["kv"].mailbox
        self.futures = {key: self.directory.dispatcher.future() for key in keys}

    def come(self):
        letters = [(self.mailbox, PutKey("run", key, 1), future) for key, future in self.futures.items()]

        def post():
            with contextlib.suppress(RecursionError):
                self.directory.dispatcher.post_all(letters)

        in_threads(post)

    def answers(self):
        return {
            key: answer_of(lambda future=future: future.get(timeout=FAILSAFE_S)) for key, future in self.futures.items()
        }


def until(condition):
    """Wait, in the thread of an actor, for what others will have done; where one thread runs all, they have."""
    deadline_s = time.monotonic() + FAILSAFE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def check_only_the_broken_are_refused(db, crowd, broken):
    in_threads(lambda: db.put("run", "after", 1))
    answers = crowd.answers()
    assert {key for key, answer in answers.items() if isinstance(answer, inmem.TransactionAbortedError)} == broken
    assert all(type(answer) is int for key, answer in answers.items() if key not in broken)
    assert set(db.kv.list("run")) == {*answers, "after"} - broken


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_what_waits_for_a_successor_outlives_one_that_is_cut_short_over_the_first_of_it(dispatcher, monkeypatch):
    failing = {"k0": BrokenError(), "k1": RecursionError("no room")}

    def perform_or_fail(self, txn, message):
        if message.key in failing:
            raise failing.pop(message.key)
        return perform(self, txn, message)

    def replace_when_all_wait(self, failed):
        if "k1" in failing:
            until(lambda: len(crowd.mailbox.stash) >= 3)
        replace(self, failed)

    perform, replace = KVActor.perform, PrimitiveKeeper.replace
    monkeypatch.setattr(KVActor, "perform", perform_or_fail)
    monkeypatch.setattr(PrimitiveKeeper, "replace", replace_when_all_wait)
    with inmem.open(":memory:", dispatcher=dispatcher) as db:
        crowd = Crowd(db, ["k0", "k1", "k2", "k3"])
        crowd.come()
        # Of who is cut short for want of room on a caller's stack nobody says that the request was to blame.
        check_only_the_broken_are_refused(db, crowd, {"k0"} if dispatcher == "caller" else {"k0", "k1"})
        assert not failing


@pytest.mark.parametrize("at", ["Resume", "GoOn"])
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_what_an_actor_owed_outlives_a_replacement_that_is_cut_short_when_its_successor_is_made(
    dispatcher, at, monkeypatch
):
    failing = {"k1"}

    def perform_or_fail(self, txn, message):
        if message.key in failing:
            failing.clear()
            cutting.append(at)
            raise BrokenError
        return perform(self, txn, message)

    def decide_when_all_wait(self, *commit):
        if failing:
            until(lambda: len(crowd.mailbox.actor._requests.waiting) >= 3)
        committed(self, *commit)

    def cut(*fields):
        if cutting:
            cutting.clear()
            raise BrokenError
        return message_class(*fields)

    cutting = []
    perform, committed, message_class = KVActor.perform, Coordinator.committed, getattr(primitive_keeper, at)
    monkeypatch.setattr(KVActor, "perform", perform_or_fail)
    monkeypatch.setattr(Coordinator, "committed", decide_when_all_wait)
    with inmem.open(":memory:", dispatcher=dispatcher) as db:
        monkeypatch.setattr(primitive_keeper, at, cut)
        crowd = Crowd(db, ["k0", "k1", "k2", "k3"])
        crowd.come()
        check_only_the_broken_are_refused(db, crowd, {"k1"})
        assert not failing
        assert not cutting


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
def test_a_recovery_whose_last_step_fails_is_answered_when_that_is_done_again(dispatcher, monkeypatch):
    failing = [True]

    def fail_once(self):
        if failing:
            failing.clear()
            raise BrokenError
        dismiss(self)

    dismiss = PrimitiveKeeper.dismiss_stand_ins
    monkeypatch.setattr(PrimitiveKeeper, "dismiss_stand_ins", fail_once)
    with inmem.open(":memory:", dispatcher=dispatcher) as db:
        in_threads(db.recover)
        assert not failing
        assert in_threads(lambda: db.put("run", "k", 1)) == [1]


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_a_group_whose_commit_was_sent_twice_is_carried_out_once(tmp_path, monkeypatch, dispatcher, durability):
    """The primitive fails when it has sent it; over what its successor sends again, the coordinator does."""
    letters = []

    def commit_and_fail(self, request, attempt, group):
        commit(self, request, attempt, group)
        if isinstance(self, EventActor):
            if "events" in failing:
                failing.remove("events")
                raise BrokenError("the events actor, once it has sent its commit")
            sent_again.set()

    def fail_over_one(self, message):
        if type(message) is Commit and message.group is not None and message.group[0] == "events":
            letters.append(message.group)
            number = len(letters)
            if number == 1 and dispatcher == "threads":
                # Otherwise the successor may hear the answer to this one first, and send none.
                assert sent_again.wait(FAILSAFE_S)
            fails = number in failing
            if fails:
                failing.remove(number)
            if number == 2:
                both_came.set()
            if fails:
                raise BrokenError("the coordinator, before it has done anything")
        return handle(self, message)

    commit, handle = PrimitiveActor.commit, Coordinator.on_receive
    monkeypatch.setattr(PrimitiveActor, "commit", commit_and_fail)
    monkeypatch.setattr(Coordinator, "on_receive", fail_over_one)
    failing = []
    sent_again, both_came = threading.Event(), threading.Event()
    with inmem.open(tmp_path / "db", dispatcher=dispatcher, durability=durability) as db:
        for number, letter in enumerate((1, 2)):
            letters.clear()
            sent_again.clear()
            both_came.clear()
            failing = ["events", letter]
            assert db.events.append("run", "paid", number).sequence == number
            # The caller may have its answer before.
            assert both_came.wait(FAILSAFE_S)
            assert not failing
            assert [each.payload for each in db.events.iter("run")] == list(range(number + 1))


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize(
    ("owner", "name", "when"),
    [
        (DecisionReply, "set_exception", "before"),
        (DecisionReply, "set_exception", "after"),
        (TransactionRegistry, "note_group", "after"),
        (Mailbox, "suspend", "after"),
    ],
)
def test_a_group_is_answered_once_wherever_the_coordinators_failure_over_it_is_cut_short(
    monkeypatch, dispatcher, owner, name, when
):
    """Its answer is neither lost, as nobody would ask for it again, nor is it told that nothing came of a commit."""

    def no_room_for(self, message):
        if type(message) is Commit and message.group is not None and failing == ["handle", "fail"]:
            failing.remove("handle")
            raise RecursionError("before the coordinator has done anything")
        return handle(self, message)

    def cut_short(*args):
        if failing != ["fail"] or (owner is Mailbox and args[0].name != "coordinator"):
            return original(*args)
        if when == "after":
            original(*args)
        failing.remove("fail")
        raise RecursionError("in the middle of failing")

    def tell(work):
        # Whoever runs an actor that has no room is told so as well.
        with contextlib.suppress(RecursionError, inmem.TransactionAbortedError):
            work()

    handle, original = Coordinator.on_receive, getattr(owner, name)
    with inmem.open(":memory:", dispatcher=dispatcher) as db:
        failing = ["handle", "fail"]
        monkeypatch.setattr(Coordinator, "on_receive", no_room_for)
        monkeypatch.setattr(owner, name, cut_short)
        in_threads(lambda: tell(lambda: db.events.append("run", "paid", "once")))
        # Whoever makes up for it is cut short as well.
        in_threads(lambda: tell(lambda: db.transaction("run", lambda txn: txn.put("k", 1))))
        assert in_threads(lambda: db.events.append("run", "paid", "after").sequence) == [1]
        assert not failing
        assert [each.payload for each in db.events.iter("run")] == ["once", "after"]
