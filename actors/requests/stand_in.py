"""What takes the place of a primitive actor that keeps failing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.requests.primitive_actor import PrimitiveActor

if TYPE_CHECKING:
    from inmem.engine.errors import InmemError


class StandIn(PrimitiveActor):
    """Refuses every request. A group in flight when it takes over still learns how its commit went.

    Nothing of the one that fails runs here: what it does with a request, and how it handles messages, is its own.
    """

    def refuse_all(self, refusal: InmemError) -> None:
        """Refuse what waits, and from now on whatever comes."""
        self._requests.refuse_all(refusal)
        self._continue_draining()
