"""The deputy: a thread of a dispatcher's own, for a queue that somebody has to run who must not, or has no room to."""

from __future__ import annotations

from _thread import get_ident
from typing import Protocol

from inmem.actors.dispatch.future import ReplyFuture
from inmem.actors.dispatch.lane import Lane


class Relieve(Protocol):
    """Runs the queue."""

    def __call__(self, *, patiently: bool) -> None:
        """Take over from whoever runs it; `patiently` waits for a turn if somebody is about to already."""
        ...


class Deputy:
    """Takes part in running a queue whenever it is asked to, in a thread that starts when it is first needed.

    Args:
        relieve: runs the queue.

    Attributes:
        ident: of its thread; 0 until it has been asked.
    """

    def __init__(self, relieve: Relieve) -> None:
        self._relieve = relieve
        self._lane: Lane[ReplyFuture[None] | None] = Lane("inmem-deputy", self._run_for, self._run_for_again)
        self.ident = 0

    def put(self) -> None:
        """Have it run the queue, and do not wait for that."""
        self._lane.put(None)

    def wait_for_turn(self) -> None:
        """Have it wait for a turn and run the queue, and return when it has."""
        relieved: ReplyFuture[None] = ReplyFuture()
        self._lane.put(relieved)
        relieved.block(None)

    def take_over(self) -> None:
        """Like `put`, in a thread that was made to call this: if no other can be started, that one runs the queue."""
        try:
            self._lane.put(None)
        except RuntimeError:
            self._relieve(patiently=False)

    def end(self) -> None:
        """End the thread, and do not wait for that: it may be waiting itself, for whoever calls this."""
        self._lane.end()

    def _run_for(self, relieved: ReplyFuture[None] | None) -> None:
        self.ident = get_ident()
        self._relieve(patiently=relieved is not None)
        if relieved is not None and not relieved.done:
            relieved.set()

    def _run_for_again(self, relieved: ReplyFuture[None] | None, _error: BaseException) -> None:
        # Somebody who meant to end it has struck it before it was through.
        self._lane.put(relieved)
