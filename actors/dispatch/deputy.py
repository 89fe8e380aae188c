"""The deputy: a dispatcher's own thread, which runs the queue for threads that must not, or have no stack left to."""

from __future__ import annotations

from _thread import get_ident
from typing import Protocol

from inmem.actors.dispatch.future import ReplyFuture
from inmem.actors.dispatch.lane import Lane


class Relieve(Protocol):
    """A function that runs the queue."""

    def __call__(self, *, patiently: bool) -> None:
        """Take over from the thread that runs it; with `patiently`, wait for a turn if another one is about to."""
        ...


class Deputy:
    """Helps run a queue whenever asked, in a thread that starts when it is first needed.

    Args:
        relieve: runs the queue.

    Attributes:
        ident: the ident of its thread; 0 until that has first been asked.
    """

    def __init__(self, relieve: Relieve) -> None:
        self._relieve = relieve
        self._lane: Lane[ReplyFuture[None] | None] = Lane("inmem-deputy", self._run_for, self._run_for_again)
        self.ident = 0

    def put(self) -> None:
        """Have the deputy run the queue, without waiting for it."""
        self._lane.put(None)

    def wait_for_turn(self) -> None:
        """Have the deputy wait for a turn and run the queue; return when it has."""
        relieved: ReplyFuture[None] = ReplyFuture()
        self._lane.put(relieved)
        relieved.block(None)

    def take_over(self) -> None:
        """Like `put`, for a thread started to call this: if the deputy's cannot be started, this one runs the queue."""
        try:
            self._lane.put(None)
        except RuntimeError:
            self._relieve(patiently=False)

    def end(self) -> None:
        """End the thread without waiting for it: it may itself be waiting for the caller."""
        self._lane.end()

    def _run_for(self, relieved: ReplyFuture[None] | None) -> None:
        self.ident = get_ident()
        self._relieve(patiently=relieved is not None)
        if relieved is not None and not relieved.done:
            relieved.set()

    def _run_for_again(self, relieved: ReplyFuture[None] | None, _error: BaseException) -> None:
        # An exception from outside, meant to end the thread, came before it was done: once more.
        self._lane.put(relieved)
