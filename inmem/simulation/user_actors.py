"""Users' own pykka actors in a simulation: their loops become clients, and the scheduler fills their inboxes.

pykka supports new kinds of actors: an inbox, a future and a loop are all that an actor needs from its runtime. During a
simulation `pykka.ThreadingActor` gets those of the simulation, so agents can be tested without changes, and pykka's
registry holds only the simulation's actors. All this applies only to code that takes part in the simulation; for other
threads nothing changes.
"""

# pyright: reportPrivateUsage=false
# pykka's documented hooks for new kinds of actors have names with an underscore.

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

import pykka
from pykka import messages as pykka_messages

from inmem.simulation.clients import ClientKilled, current
from inmem.simulation.futures import SimulatedFuture

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from inmem.simulation.clients import SimulatedClient
    from inmem.simulation.scheduler import Scheduler


A_MESSAGE = "a message"
"""What an actor waits for."""

_RUNTIME = ("_create_actor_inbox", "_create_future", "_start_actor_loop")
"""The methods from which pykka gets the runtime of a kind of actors."""


class SimulatedInbox:
    """The inbox of a user's actor. What is put into it arrives when the scheduler decides.

    Args:
        scheduler: the scheduler of the run.

    Attributes:
        name: the name of its actor.
        on_its_way: number of envelopes put here that have not arrived. A request to stop does not count.
        undone: number of arrived envelopes that are not done, plus one for a start that the actor has work for.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.name = ""
        self.on_its_way = 0
        self.undone = 0
        self._scheduler = scheduler
        self._envelopes: deque[Any] = deque()
        self._owner: SimulatedClient | None = None
        self._handling = 0

    def put(self, envelope: Any, /) -> None:
        """Put an envelope on its way."""
        self._scheduler.post(self.name, self, envelope, _shown(envelope.message), None)
        self.on_its_way += _counts(envelope)

    def deliver(self, target: Any, message: Any, reply_to: Any) -> None:  # noqa: ARG002
        """Take in an envelope that has arrived. Called by the scheduler."""
        self._envelopes.append(target)
        self.on_its_way -= _counts(target)
        self.undone += _counts(target)
        if self._owner is not None:
            self._owner.wake()

    def starts_with_work(self) -> None:
        """Note that the actor has work to do before it asks for its first envelope."""
        self.undone += 1
        self._handling = 1

    def get(self) -> Any:
        """Return the next envelope. The actor's loop waits here, and is then done with the previous envelope."""
        self.undone -= self._handling
        self._handling = 0
        self._owner = current.client
        while not self._envelopes:
            if self._owner is None:
                self._scheduler.run_until(lambda: bool(self._envelopes), A_MESSAGE)
            else:
                self._owner.pause(A_MESSAGE, ready=False)
        envelope = self._envelopes.popleft()
        self._handling = _counts(envelope)
        return envelope

    def empty(self) -> bool:
        """Return whether no arrived envelope is left."""
        return not self._envelopes


class UserActors:
    """The users' own actors of one run, and whether each of them is busy.

    Args:
        scheduler: the scheduler of the run.
        start_loop: starts the loop of an actor under a base name and returns the name that it got.
    """

    def __init__(self, scheduler: Scheduler, start_loop: Callable[[str, Callable[[], Any]], str]) -> None:
        self._scheduler = scheduler
        self._start_loop = start_loop
        self._inboxes: dict[str, SimulatedInbox] = {}

    def busy(self, *, has_run: bool) -> list[str]:
        """Return the names of the live actors that have something to do.

        Args:
            has_run: whether everything has come to rest before. An actor that has been waiting since then may wait
                forever, such as one that follows the store's changes.
        """
        names: list[str] = []
        for client in self._scheduler.clients:
            inbox = None if client.done else self._inboxes.get(client.name)
            if inbox is not None and (inbox.on_its_way or (inbox.undone and (client.ready or not has_run))):
                names.append(client.name)
        return names

    @contextlib.contextmanager
    def simulated(self) -> Generator[None]:
        """Within this context, `pykka.ThreadingActor` and its subclasses run inside the simulation.

        Actors started by threads that take no part in the simulation do not.
        """
        kind: Any = pykka.ThreadingActor
        registry: Any = pykka.ActorRegistry
        create_inbox, create_future, start_loop = (getattr(kind, name) for name in _RUNTIME)
        is_calling = self._scheduler.is_calling

        def start(actor: pykka.ThreadingActor) -> None:
            # This must be a function: as an attribute of the class, a bound method would not receive the actor.
            if is_calling():
                self._start(actor)
            else:
                start_loop(actor)

        inbox = staticmethod(lambda: SimulatedInbox(self._scheduler) if is_calling() else create_inbox())
        future = staticmethod(lambda: SimulatedFuture(self._scheduler) if is_calling() else create_future())
        refs = _RefsByThread(registry._actor_refs, is_calling)  # noqa: SLF001
        replacements = [
            *((kind, name, replacement) for name, replacement in zip(_RUNTIME, (inbox, future, start), strict=True)),
            (registry, "_actor_refs", refs),
        ]
        with contextlib.ExitStack() as undone:
            for owner, name, replacement in replacements:
                undone.callback(setattr, owner, name, vars(owner)[name])
                setattr(owner, name, replacement)
            yield

    def _start(self, actor: pykka.ThreadingActor) -> None:
        inbox: Any = actor.actor_inbox
        inbox.name = self._start_loop(type(actor).__name__, _WatchedLoop(actor).run)
        self._inboxes[inbox.name] = inbox
        if type(actor).on_start is not pykka.Actor.on_start:
            inbox.starts_with_work()


class _RefsByThread:
    """Replaces the registry's list of refs: code in the simulation gets its own list, other threads the real one."""

    def __init__(self, others: list[Any], is_calling: Callable[[], bool]) -> None:
        self._simulated: list[Any] = []
        self._others = others
        self._is_calling = is_calling

    def __get__(self, instance: object, owner: type) -> list[Any]:
        return self._simulated if self._is_calling() else self._others


class _WatchedLoop:
    """The loop of one actor. It raises errors that pykka would only write to its log."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._failure: BaseException | None = None
        self._handle_receive = actor._handle_receive  # noqa: SLF001  (these three are hooks that pykka calls)
        self._on_failure: Any = actor.on_failure
        own: Any = type(actor).on_failure  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        self._is_meant_to_fail = own is not pykka.Actor.on_failure
        actor._handle_failure = self._failed  # noqa: SLF001
        actor._handle_receive = self._receive  # noqa: SLF001
        actor.on_failure = self._take_care

    def run(self) -> None:
        """Run the actor until it stops.

        Raises:
            BaseException: the error that stopped it, unless its own `on_failure` has dealt with it.
        """
        __tracebackhide__ = True
        # pykka must not take the unwinding after a crash of the process for a reason to stop all other actors.
        with contextlib.suppress(ClientKilled):
            self._actor._actor_loop()  # noqa: SLF001
            if self._failure is not None:
                raise self._failure

    def _receive(self, message: Any) -> Any:
        __tracebackhide__ = True
        try:
            return self._handle_receive(message)
        except Exception:
            raise
        except ClientKilled:
            # pykka would stop the actor in good order. An actor that dies with its process does nothing any more.
            self._actor.on_stop = _nothing
            raise
        except BaseException as error:
            # Such as pytest's failures. pykka would stop every actor and report nothing.
            if current.client is not None:
                current.client.error = error
            raise

    def _failed(self, _kind: Any, error: BaseException, _traceback: Any) -> None:
        # Like pykka's own method, but without logging: a failing run is repeated many times while it is shrunk.
        self._failure = error
        pykka.ActorRegistry.unregister(self._actor.actor_ref)
        self._actor.actor_stopped.set()

    def _take_care(self, kind: Any, error: BaseException, traceback: Any) -> None:
        self._on_failure(kind, error, traceback)
        if self._is_meant_to_fail and not isinstance(error, AssertionError):
            self._failure = None


def _nothing() -> None:
    """Do nothing."""


def _counts(envelope: Any) -> int:
    return not isinstance(envelope.message, pykka_messages._ActorStop)  # noqa: SLF001


def _shown(message: Any) -> Any:
    """Return what the trace shows of a user's message."""
    if isinstance(message, pykka_messages.ProxyCall):
        return f"{'.'.join(message.attr_path)}(…)"
    if isinstance(message, pykka_messages.ProxyGetAttr | pykka_messages.ProxySetAttr):
        return f"{'get' if isinstance(message, pykka_messages.ProxyGetAttr) else 'set'} {'.'.join(message.attr_path)}"
    return repr(message) if type(message) is str else message
