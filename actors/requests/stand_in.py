"""The replacement for a primitive actor that keeps failing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.requests.primitive_actor import PrimitiveActor

if TYPE_CHECKING:
    from inmem.engine.errors import InmemError


class StandIn(PrimitiveActor):
    """Refuses every request. A group in flight when it takes over still learns the outcome of its commit.

    None of the failing actor's own code runs here, neither for requests nor for other messages.
    """

    def refuse_all(self, refusal: InmemError) -> None:
        """Refuse all waiting requests, and from now on every new one."""
        self._requests.refuse_all(refusal)
        self._continue_draining()
