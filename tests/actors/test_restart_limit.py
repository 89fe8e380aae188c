"""Failures that come too fast are too many, whoever else fails meanwhile, and until somebody asks for another try."""

import pytest

import inmem
from inmem.actors.core.shard_actor import ShardActor
from inmem.actors.dispatch.stack_room import NoRoomError
from inmem.actors.requests.kv_actor import KVActor
from inmem.actors.restart_limit import RESTART_WINDOW_S, RESTARTS_MAX, RestartLimit


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def now_us(self) -> int:
        return int(self.now_s * 1e6)

    def monotonic_s(self) -> float:
        return self.now_s


def limit_after(failures: int, *, apart_s: float) -> tuple[RestartLimit, Clock]:
    clock = Clock()
    limit = RestartLimit(clock)
    for _ in range(failures):
        clock.now_s += apart_s
        limit.note(ValueError())
    return limit, clock


def test_as_many_as_there_may_be_are_not_too_many():
    limit, _ = limit_after(RESTARTS_MAX, apart_s=0)
    assert not limit.is_exceeded


def test_one_more_is_too_many():
    limit, _ = limit_after(RESTARTS_MAX + 1, apart_s=RESTART_WINDOW_S / RESTARTS_MAX)
    assert limit.is_exceeded


def test_slowly_there_may_be_any_number():
    limit, _ = limit_after(100, apart_s=1.01 * RESTART_WINDOW_S / RESTARTS_MAX)
    assert not limit.is_exceeded


def test_too_many_stay_too_many_however_long_nothing_happens():
    limit, clock = limit_after(RESTARTS_MAX + 1, apart_s=0)
    clock.now_s += 3_600
    limit.note(ValueError())
    assert limit.is_exceeded
    limit.forget()
    assert not limit.is_exceeded
    for _ in range(RESTARTS_MAX):
        limit.note(ValueError())
    assert not limit.is_exceeded
    limit.note(ValueError())
    assert limit.is_exceeded


def test_a_full_stack_is_nobodys_failure():
    limit, _ = limit_after(RESTARTS_MAX, apart_s=0)
    for _ in range(RESTARTS_MAX + 1):
        limit.note(NoRoomError())
    assert not limit.is_exceeded


@pytest.fixture
def db():
    with inmem.open(":memory:") as opened:
        yield opened


@pytest.fixture
def given_up_kv(db, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(KVActor, "perform", lambda *_: 1 // 0)
        for _ in range(RESTARTS_MAX + 1):
            with pytest.raises((inmem.TransactionAbortedError, inmem.StoreFailedError)):
                db.put("run", "k", 1)
    with pytest.raises(inmem.StoreFailedError):
        db.put("run", "k", 1)


class Failing:
    """Makes a class of actors fail, each time it is armed, over the next message."""

    def __init__(self, monkeypatch, actor_class):
        self._errors = []
        original = actor_class.on_receive

        def on_receive(actor, message):
            if self._errors:
                raise self._errors.pop()
            return original(actor, message)

        monkeypatch.setattr(actor_class, "on_receive", on_receive)

    def arm(self, error):
        self._errors.append(error)


@pytest.mark.usefixtures("given_up_kv")
def test_who_is_given_up_takes_nobody_along(db, monkeypatch):
    for actor_class, work in (
        (ShardActor, lambda: db.transaction("run", lambda txn: txn.put("k", 1))),
        (type(db._client.directory.mailboxes["events"].mailbox.actor), lambda: db.events.append("run", "type", 1)),
    ):
        failing = Failing(monkeypatch, actor_class)
        failing.arm(ValueError("once"))
        try:
            work()
        except inmem.TransactionAbortedError:
            work()
    with pytest.raises(inmem.StoreFailedError):
        db.put("run", "k", 1)
    db.recover()
    assert db.put("run", "k", 1) == db.version
