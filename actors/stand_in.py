"""What takes the place of a primitive actor that keeps failing."""

from __future__ import annotations

from typing import Any

from inmem.actors.actor import LATER
from inmem.actors.messages.transactions import CommitDecided, Committed, Drain
from inmem.actors.primitive_actor import PrimitiveActor, RetryDue
from inmem.engine.errors import DatabaseClosedError, InmemError


class StandIn(PrimitiveActor):
    """Takes the place of a primitive actor that keeps failing: refuses everything with `refusal`.

    A group in flight when it takes over still learns how its commit went.
    """

    refusal: InmemError = DatabaseClosedError()

    def refuse_all(self, refusal: InmemError) -> None:
        """Refuse what waits, and from now on whatever comes."""
        self.refusal = refusal
        while self._waiting:
            self._waiting.popleft().refuse(refusal)
        self._continue_draining()

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        match message:
            case CommitDecided(group, outcome):
                if group == self._group and self._in_flight is not None:
                    if isinstance(outcome, Committed):
                        self._answer(self._in_flight, outcome.version)
                    else:
                        self._refuse(self._in_flight, self.refusal)
                    self._in_flight = None
                    self._continue_draining()
            case RetryDue():
                return None
            case Drain():
                self._draining = self.owe(message)
                self._continue_draining()
                return LATER
            case _:
                if self._reply_to is not None:
                    raise self.refusal.anew()
        return None
