"""Users' own pykka actors in a simulation: their loops become clients, their inboxes become scheduled.

pykka foresees new kinds of actors: an inbox, a future and a loop are all that an actor needs from its runtime. During a
simulation `pykka.ThreadingActor` gets those of the simulation, so that agents need not be changed to be tested.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any
from unittest import mock

import pykka

from inmem.simulation.clients import current
from inmem.simulation.scheduler import SimulatedFuture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.simulation.clients import SimulatedClient
    from inmem.simulation.scheduler import Scheduler
    from inmem.simulation.simulation import Simulation


class SimulatedInbox:
    """The inbox of a user's actor. What is put into it arrives when the scheduler says so."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.name = "inbox"
        self._scheduler = scheduler
        self._envelopes: deque[Any] = deque()
        self._owner: SimulatedClient | None = None

    def put(self, envelope: Any, /) -> None:
        """Put an envelope on its way."""
        self._scheduler.post(self, envelope, None)  # type: ignore[arg-type]

    def deliver(self, envelope: Any, _reply_to: None) -> None:
        """From the scheduler: it has arrived."""
        self._envelopes.append(envelope)
        if self._owner is not None:
            self._owner.wake()

    def get(self) -> Any:
        """Return the next envelope; the actor's loop waits here."""
        self._owner = current.client
        while not self._envelopes:
            if self._owner is None:
                self._scheduler.run_until(lambda: bool(self._envelopes))
            else:
                self._owner.pause("a message", ready=False)
        return self._envelopes.popleft()

    def empty(self) -> bool:
        """Whether nothing has arrived."""
        return not self._envelopes

    @property
    def actor(self) -> None:
        """No actor of the store is behind this inbox."""
        return None


@contextlib.contextmanager
def simulated_actors(simulation: Simulation) -> Iterator[None]:
    """Within this context, `pykka.ThreadingActor` and its subclasses run inside the simulation."""
    scheduler = simulation.scheduler
    counts: dict[str, int] = {}

    def start_loop(actor: pykka.ThreadingActor) -> None:
        base = type(actor).__name__
        counts[base] = counts.get(base, 0) + 1
        inbox: Any = actor.actor_inbox
        inbox.name = base if counts[base] == 1 else f"{base}-{counts[base]}"
        simulation.start_client(base, actor._actor_loop)  # noqa: SLF001  (the hook that pykka foresees)

    kinds: Any = pykka.ThreadingActor
    with (
        mock.patch.object(kinds, "_create_actor_inbox", staticmethod(lambda: SimulatedInbox(scheduler))),
        mock.patch.object(kinds, "_create_future", staticmethod(lambda: SimulatedFuture(scheduler))),
        mock.patch.object(kinds, "_start_actor_loop", start_loop),
    ):
        before = {ref.actor_urn for ref in pykka.ActorRegistry.get_all()}
        try:
            yield
        finally:
            for ref in pykka.ActorRegistry.get_all():
                if ref.actor_urn not in before:
                    pykka.ActorRegistry.unregister(ref)
