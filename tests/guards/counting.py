"""Counters of the guards: function calls and messages."""

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import inmem
from inmem.actors.dispatch.actor import StoreActor
from inmem.actors.dispatch.turns import Turns


def calls_of(work: Callable[[], object]) -> int:
    """Return how many calls of Python functions `work` makes: the same on every machine and under any load."""
    return sum(calls_by_name(work).values())


def calls_by_name(work: Callable[[], object]) -> Counter[str]:
    """Return the number of calls of Python functions that `work` makes, by function name."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            calls[frame.f_code.co_name] += 1

    # Count only calls made for `work`. The collector would run finalizers of other code's garbage, which may call
    # anything.
    previous, collects = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(previous)
        if collects:
            gc.enable()
    # Called after every sixteenth reply, so the count would depend on earlier work.
    calls.pop(Turns.look.__name__, None)
    return calls


@contextmanager
def messages() -> Iterator[list[tuple[str, str]]]:
    """Collect (receiver, message type) of every delivery during the block."""
    delivered: list[tuple[str, str]] = []
    handle = StoreActor.handle

    def noting(self: StoreActor, message: Any, reply_to: Any) -> None:
        delivered.append((self.mailbox.name, type(message).__name__))
        handle(self, message, reply_to)

    StoreActor.handle = noting
    try:
        yield delivered
    finally:
        StoreActor.handle = handle


def store_of(keys: int) -> inmem.Database:
    """Return an in-memory store with this number of keys in run "r"."""
    db = inmem.open(":memory:")
    for first in range(0, keys, 5000):
        with db.begin("r") as txn:
            for number in range(first, min(first + 5000, keys)):
                txn.put(f"key-{number:06}", number)
    return db
