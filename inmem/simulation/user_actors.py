"""Users' own pykka actors in a simulation: their loops become clients, their inboxes become scheduled.

pykka foresees new kinds of actors: an inbox, a future and a loop are all that an actor needs from its runtime. During a
simulation `pykka.ThreadingActor` gets those of the simulation, so that agents need not be changed to be tested; and
the registry holds the actors of the simulation only.
"""

# pyright: reportPrivateUsage=false
# pykka documents its hooks for new kinds of actors, under names with an underscore.

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

import pykka
from pykka import messages as pykka_messages

from inmem.simulation.clients import ClientKilled, current
from inmem.simulation.scheduler import SimulatedFuture

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from inmem.simulation.clients import SimulatedClient
    from inmem.simulation.scheduler import Scheduler


class SimulatedInbox:
    """The inbox of a user's actor. What is put into it arrives when the scheduler says so."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.name = ""
        self._scheduler = scheduler
        self._envelopes: deque[Any] = deque()
        self._owner: SimulatedClient | None = None

    def put(self, envelope: Any, /) -> None:
        """Put an envelope on its way."""
        self._scheduler.post(self.name, self, envelope, _shown(envelope.message), None)

    def deliver(self, target: Any, message: Any, reply_to: Any) -> None:  # noqa: ARG002
        """From the scheduler: an envelope has arrived."""
        self._envelopes.append(target)
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


@contextlib.contextmanager
def simulated_actors(scheduler: Scheduler, start_client: Callable[[str, Callable[[], Any]], str]) -> Generator[None]:
    """Within this context, `pykka.ThreadingActor` and its subclasses run inside the simulation.

    Args:
        scheduler: of the run.
        start_client: starts a client under a base name and returns its own.
    """

    def start_loop(actor: pykka.ThreadingActor) -> None:
        def loop() -> None:
            # What a crash of the process unwinds must not look to pykka like a reason to stop everybody else.
            with contextlib.suppress(ClientKilled):
                actor._actor_loop()  # noqa: SLF001  (the hook that pykka foresees)

        inbox: Any = actor.actor_inbox
        inbox.name = start_client(type(actor).__name__, loop)

    kind: Any = pykka.ThreadingActor
    registry: Any = pykka.ActorRegistry
    replaced = {name: kind.__dict__[name] for name in ("_create_actor_inbox", "_create_future", "_start_actor_loop")}
    others = registry._actor_refs  # noqa: SLF001
    registry._actor_refs = []  # noqa: SLF001
    kind._create_actor_inbox = staticmethod(lambda: SimulatedInbox(scheduler))  # noqa: SLF001
    kind._create_future = staticmethod(lambda: SimulatedFuture(scheduler))  # noqa: SLF001
    kind._start_actor_loop = start_loop  # noqa: SLF001
    try:
        yield
    finally:
        for name, original in replaced.items():
            setattr(kind, name, original)
        registry._actor_refs = others  # noqa: SLF001


def _shown(message: Any) -> Any:
    """Return what the trace is to show of a user's message."""
    if isinstance(message, pykka_messages.ProxyCall):
        return f"{'.'.join(message.attr_path)}(…)"
    if isinstance(message, pykka_messages.ProxyGetAttr | pykka_messages.ProxySetAttr):
        return f"{'get' if isinstance(message, pykka_messages.ProxyGetAttr) else 'set'} {'.'.join(message.attr_path)}"
    return repr(message) if type(message) is str else message
