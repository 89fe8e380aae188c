"""Under the `caller` dispatcher actors run on their callers' stacks, which may be nearly full."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import inmem
from inmem.actors.requests.kv_actor import KVActor
from inmem.engine.commits.shard import Shard
from tests.actors.stage import in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FRAMES_MAX = 400
"""Enough for everything else, and quickly used up."""


@pytest.fixture
def few_frames(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # A finalizer that finds no room is reported by a hook that finds none either.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(FRAMES_MAX)
    yield
    sys.setrecursionlimit(before)


def frames() -> int:
    frame, count = sys._getframe(), 0
    while frame is not None:
        frame, count = frame.f_back, count + 1
    return count


def dive(levels: int, function: Callable[[], Any]) -> Any:
    return function() if levels <= 0 else dive(levels - 1, function)


def with_room_for(room: int, function: Callable[[], Any]) -> Any:
    """Call a function where only so many more frames are allowed; return what it raises."""

    def attempt() -> BaseException | None:
        try:
            function()
        except (RecursionError, inmem.InmemError) as error:
            return error
        return None

    try:
        return dive(FRAMES_MAX - frames() - room - 4, attempt)
    except RecursionError as error:
        return error


WORK: dict[str, Callable[[inmem.Database], Any]] = {
    "put": lambda db: db.put("run", "deep", 1),
    "begin": lambda db: db.begin("run").abort(),
    "transaction": lambda db: db.transaction("run", lambda txn: txn.put("deep", 1)),
    "future": lambda db: db.kv.futures.put("run", "deep", 1),
    "flush": lambda db: db.flush(),
}


@pytest.mark.usefixtures("few_frames")
@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("place", ["memory", "disk"])
def test_who_has_no_room_left_gets_an_error_and_nobody_else_notices(tmp_path, work, place):
    outcomes = set()
    for room in range(2, 50):
        with inmem.open(":memory:" if place == "memory" else tmp_path / f"{room}", durability="always") as db:
            (error,) = in_threads(lambda db=db, room=room: with_room_for(room, lambda: WORK[work](db)))
            outcomes.add(type(error))
            # From another thread, with a stack of its own.
            (version,) = in_threads(lambda db=db: db.put("run", "k", 1))
            assert version == db.version
            assert db.get("run", "k") == 1
            assert db.verify().is_valid
    assert RecursionError in outcomes
    assert type(None) in outcomes


@pytest.mark.usefixtures("few_frames")
def test_a_runaway_recursion_that_notes_each_step_ends_with_its_own_error(tmp_path):
    def agent(step: int) -> None:
        db.put("run", "step", step)
        agent(step + 1)

    with inmem.open(tmp_path / "db") as db:
        for _ in range(3):
            (error,) = in_threads(lambda: with_room_for(200, lambda: agent(0)))
            assert error is not None
        assert db.put("run", "step", -1) == db.version


@pytest.mark.usefixtures("few_frames")
def test_a_runaway_recursion_whose_levels_note_their_end_costs_nobody_else_the_store(tmp_path):
    def agent(step: int) -> None:
        try:
            agent(step + 1)
        finally:
            db.put("run", "left", step)

    with inmem.open(tmp_path / "db") as db:
        for offset in range(4):
            in_threads(lambda offset=offset: with_room_for(200 + offset, lambda: agent(0)))
            (version,) = in_threads(lambda: db.put("run", "after", 1))
            assert version == db.version


@pytest.mark.usefixtures("few_frames")
@pytest.mark.parametrize("place", ["memory", "disk"])
def test_a_close_without_room_is_refused_and_the_next_one_closes(tmp_path, place):
    for room in range(2, 50):
        db = inmem.open(":memory:" if place == "memory" else tmp_path / f"{room}")
        (error,) = in_threads(lambda db=db, room=room: with_room_for(room, db.close))
        assert isinstance(error, RecursionError)
        in_threads(db.close)
        with pytest.raises(inmem.DatabaseClosedError):
            db.put("run", "k", 1)


@pytest.mark.usefixtures("few_frames")
@pytest.mark.parametrize("place", ["memory", "disk"])
def test_an_actor_that_fails_where_there_is_no_room_is_replaced_where_there_is(tmp_path, monkeypatch, place):
    prepare = Shard.prepare
    faults = []

    def failing(self, part):
        if faults:
            raise faults.pop()
        return prepare(self, part)

    monkeypatch.setattr(Shard, "prepare", failing)
    struck = 0
    for room in range(2, 70):
        with inmem.open(":memory:" if place == "memory" else tmp_path / f"{room}", durability="never") as db:
            faults.append(ValueError("injected"))
            in_threads(lambda db=db, room=room: with_room_for(room, lambda: db.put("run", "deep", 1)))
            struck += not faults
            faults.clear()
            (version,) = in_threads(lambda db=db: db.put("run", "k", 1))
            assert version == db.version
    assert struck


@pytest.mark.usefixtures("few_frames")
def test_an_actor_that_calls_itself_without_end_fails_as_any_other(monkeypatch):
    """Taken for its caller's fault, it would be replaced for ever."""

    def endless(self, part):
        return endless(self, part)

    def put_repeatedly() -> None:
        for _ in range(20):
            with contextlib.suppress(RecursionError, inmem.TransactionAbortedError):
                db.put("run", "k", 1)

    with inmem.open(":memory:") as db:
        monkeypatch.setattr(Shard, "prepare", endless)
        with pytest.raises(inmem.StoreFailedError):
            in_threads(put_repeatedly)


@pytest.mark.usefixtures("few_frames")
def test_those_who_wait_are_not_left_behind_by_who_ran_the_queue_for_them(tmp_path):
    stop = threading.Event()

    def work(number: int) -> int:
        acknowledged = -1
        for step in itertools.count():
            try:
                db.put("run", f"k{number}", step)
            except inmem.InmemError:
                if stop.is_set():
                    return acknowledged
            else:
                acknowledged = step
                if stop.is_set():
                    return acknowledged
        return acknowledged

    def dives() -> None:
        for room in range(2, 40):
            with_room_for(room, lambda: db.put("run", "deep", 1))
        stop.set()

    with inmem.open(tmp_path / "db", durability="never") as db:
        *acknowledged, _ = in_threads(*(lambda number=number: work(number) for number in range(3)), dives)
        db.recover()
        for number, step in enumerate(acknowledged):
            stored = db.get("run", f"k{number}")
            assert step == -1 or stored >= step
        assert db.put("run", "k", 1) == db.version


def test_a_request_that_was_in_hand_when_its_runners_stack_was_full_is_carried_out_by_the_next(monkeypatch):
    """It may be anybody's. One over which the actor has failed by itself is refused."""
    perform = KVActor.perform
    faults: list[Exception] = []

    def failing(self, txn, message):
        if faults:
            raise faults.pop()
        return perform(self, txn, message)

    def runs() -> None:
        with pytest.raises(RecursionError):
            db.put("run", "k", 1)

    monkeypatch.setattr(KVActor, "perform", failing)
    with inmem.open(":memory:") as db:
        faults.append(RecursionError("injected"))
        in_threads(runs)
        in_threads(lambda: db.put("run", "after", 1))
        assert db.get("run", "k") == 1
        faults.append(ValueError("injected"))
        with pytest.raises(inmem.TransactionAbortedError):
            in_threads(lambda: db.put("run", "refused", 1))
        in_threads(lambda: db.put("run", "after", 2))
        assert db.get("run", "refused") is None
