"""Futures of a simulation: a reply is noted in the trace and wakes the client that waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.dispatch.future import ReplyFuture
from inmem.actors.messages.transactions import Begun
from inmem.simulation.clients import current
from inmem.simulation.trace import MAIN, Answer, Words, describe

if TYPE_CHECKING:
    from inmem.simulation.clients import SimulatedClient
    from inmem.simulation.scheduler import Scheduler


class SimulatedFuture(ReplyFuture[Any]):
    """A future whose reply is announced to the scheduler."""

    __slots__ = ("asker", "scheduler", "waiter")

    def __init__(self, waiting: Scheduler | None = None) -> None:
        super().__init__(waiting)
        self.scheduler = waiting
        self.waiter: SimulatedClient | None = None
        self.asker = MAIN if current.client is None else current.client.name

    def set(self, value: Any = None) -> None:
        """Make `value` the reply."""
        super().set(value)
        self._announce()

    def set_exception(self, exc_info: Any = None) -> None:
        """Make an exception the reply."""
        super().set_exception(exc_info)
        self._announce()

    def _announce(self) -> None:
        """Note the reply in the trace, and wake the client that waits for it."""
        if self.scheduler is not None:
            answer = self.value if self.error is None else self.error[1]
            if type(answer) is Begun:
                # Keep only its text: a transaction counts as running for as long as anything holds its lease.
                answer = Words(describe(answer))
            self.scheduler.note_answer(self.asker, Answer(answer))
        if self.waiter is not None:
            self.waiter.wake()
