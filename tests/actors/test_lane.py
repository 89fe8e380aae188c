"""A lane: a queue and the thread that empties it. What it does under interrupts is in test_thread_death.py."""

import threading
import weakref

from inmem.actors.dispatch.lane import Lane
from tests.actors.stage import FAILSAFE_S


class Item:
    """What somebody wants done."""


def ignore(*_):
    """Do nothing about it."""


def test_an_item_that_has_been_handled_is_let_go_of_at_once():
    """Not with the next item only, which may be long in coming: what is in it may count for as long as it is held."""
    lane = Lane("lane", ignore, ignore)
    dropped = threading.Event()
    item = Item()
    weakref.finalize(item, dropped.set)
    lane.put(item)
    del item
    try:
        assert dropped.wait(FAILSAFE_S)
    finally:
        lane.close()
