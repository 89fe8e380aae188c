"""A thread that asks without a pause gives way to others: when, and that the dispatcher has it do so."""

from __future__ import annotations

import threading
from itertools import count

import pytest

import inmem
from inmem.actors.dispatch import turns
from inmem.actors.dispatch.caller_dispatcher import LOOK_EVERY
from inmem.actors.dispatch.turns import PAUSE_S, SHARED_FOR_S, SHARED_TURN_S, TURN_S, Turns


class World:
    """A clock that is set by hand, and a note of every pause."""

    def __init__(self):
        self.now_s = 100.0
        self.pauses: list[float] = []
        self.turns = Turns(lambda: self.now_s, self.pauses.append)

    def look_after(self, seconds: float) -> bool:
        """Let time pass and look; return whether that was a pause."""
        before = len(self.pauses)
        self.now_s += seconds
        self.turns.look()
        return len(self.pauses) > before

    def look_elsewhere(self) -> None:
        thread = threading.Thread(target=self.turns.look)
        thread.start()
        thread.join()


def test_a_thread_that_asks_alone_pauses_once_in_a_turn():
    world = World()
    assert not world.look_after(0)
    assert not world.look_after(TURN_S * 0.9)
    assert world.look_after(TURN_S * 0.2)
    assert not world.look_after(TURN_S * 0.9)
    assert world.look_after(TURN_S * 0.2)
    assert world.pauses == [PAUSE_S, PAUSE_S]


def test_turns_are_shorter_while_others_ask_and_for_a_while_afterwards():
    world = World()
    world.look_after(0)
    world.look_elsewhere()
    assert not world.look_after(0)
    assert world.look_after(SHARED_TURN_S * 1.1)
    assert not world.look_after(SHARED_TURN_S * 0.9)
    assert world.look_after(SHARED_FOR_S)
    assert not world.look_after(SHARED_TURN_S * 1.1)
    assert world.look_after(TURN_S)


def test_who_comes_after_another_has_a_whole_turn():
    world = World()
    world.look_after(0)
    world.look_elsewhere()
    assert not world.look_after(TURN_S * 10)
    assert world.pauses == []


def test_who_has_waited_for_the_disk_has_given_way_already():
    world = World()
    world.look_after(0)
    world.turns.rested()
    assert not world.look_after(TURN_S * 10)
    assert not world.look_after(TURN_S * 0.9)
    assert world.look_after(TURN_S * 0.2)


@pytest.mark.parametrize("through_futures", [False, True])
def test_a_store_has_its_clients_look_after_so_many_replies(tmp_path, monkeypatch, through_futures):
    looks = count()
    monkeypatch.setattr(turns.Turns, "look", lambda _: next(looks))
    with inmem.open(tmp_path / "db", durability="never") as db:
        for number in range(10 * LOOK_EVERY):
            if through_futures:
                db.kv.futures.put("run", "key", number).get()
            else:
                db.put("run", "key", number)
    assert next(looks) >= 10


def test_threads_that_commit_without_a_pause_all_get_somewhere(tmp_path):
    # Without turns, most of the time all but one of them have made fewer than ten when that one is done.
    commits = 3000
    made = [0, 0, 0]
    when_first_was_done: list[list[int]] = []
    with inmem.open(tmp_path / "db", durability="interval") as db:
        together = threading.Barrier(len(made))

        def work(number: int) -> None:
            together.wait()
            for value in range(commits):
                db.put("run", f"key {number}", value)
                made[number] += 1
            when_first_was_done.append(made.copy())

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(made))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert made == [commits] * len(made)
    assert min(when_first_was_done[0]) > commits / 4
