"""What replaces a failed actor may fail itself: it is tried again, and in the end nobody waits for ever."""

import contextlib

import pytest

import inmem
from inmem.actors import core, core_keeper
from inmem.actors.coordinator import Coordinator
from inmem.actors.core_keeper import CoreKeeper
from inmem.actors.decision_reply import DecisionReply
from inmem.actors.event_actor import EventActor
from inmem.actors.kv_actor import KVActor
from inmem.actors.mailbox import Mailbox
from inmem.actors.messages.transactions import Commit
from inmem.actors.primitive_actor import PrimitiveActor
from inmem.actors.primitive_group import PrimitiveGroup
from inmem.actors.restart_limit import RESTARTS_MAX
from inmem.actors.supervisor import Supervisor
from inmem.actors.transaction_registry import TransactionRegistry
from tests.actors.stage import DISPATCHERS, in_threads

STEPS = {
    "fail": (Coordinator, "_commit", CoreKeeper, "fail"),
    "note halted": (Coordinator, "_commit", CoreKeeper, "note_halted"),
    "rebuild": (Coordinator, "_commit", CoreKeeper, "_rebuild"),
    "read the log": (Coordinator, "_commit", CoreKeeper, "_read_log"),
    "start": (Coordinator, "_commit", CoreKeeper, "start"),
    "start the actors": (Coordinator, "_commit", core_keeper, "start_core"),
    "make the last actor": (Coordinator, "_commit", core, "Coordinator"),
    "settle": (Coordinator, "_commit", CoreKeeper, "_settle"),
    "pay": (Coordinator, "_commit", CoreKeeper, "_pay"),
    "replace": (Coordinator, "_commit", Supervisor, "_replace"),
    "supervise a halt": (Coordinator, "_commit", Supervisor, "_note_halted"),
    "replace a primitive actor": (KVActor, "perform", PrimitiveGroup, "replace"),
    "make a primitive actor": (KVActor, "perform", PrimitiveGroup, "_make"),
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


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_a_group_whose_commit_was_sent_twice_is_carried_out_once(tmp_path, monkeypatch, dispatcher, durability):
    """The primitive fails when it has sent it; over what its successor sends again, the coordinator does."""
    letters = []

    def commit_and_fail(self, request, attempt, group):
        commit(self, request, attempt, group)
        if isinstance(self, EventActor) and "events" in failing:
            failing.remove("events")
            raise BrokenError("the events actor, once it has sent its commit")

    def fail_over_one(self, message):
        if type(message) is Commit and message.group is not None and message.group[0] == "events":
            letters.append(message.group)
            if len(letters) in failing:
                failing.remove(len(letters))
                raise BrokenError("the coordinator, before it has done anything")
        return handle(self, message)

    commit, handle = PrimitiveActor.commit, Coordinator.on_receive
    monkeypatch.setattr(PrimitiveActor, "commit", commit_and_fail)
    monkeypatch.setattr(Coordinator, "on_receive", fail_over_one)
    failing = []
    with inmem.open(tmp_path / "db", dispatcher=dispatcher, durability=durability) as db:
        for number, letter in enumerate((1, 2)):
            letters.clear()
            failing = ["events", letter]
            assert db.events.append("run", "paid", number).sequence == number
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
