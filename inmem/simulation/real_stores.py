"""While a simulation runs, code that takes part in it may not use a real store, which it does not control.

A real store answers at once and in one order, so a scenario on it would pass whatever it does. Threads that take no
part in the simulation may go on using real stores.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from inmem.actors.client.client import Client
from inmem.actors.dispatch.mailbox import MailboxRef
from inmem.actors.system import before_start
from inmem.simulation.dispatcher import StoreDispatcher

if TYPE_CHECKING:
    from collections.abc import Generator

    from inmem.actors.dispatch.dispatcher import Dispatcher
    from inmem.simulation.scheduler import Scheduler


@contextlib.contextmanager
def no_real_stores(scheduler: Scheduler) -> Generator[None]:
    """Within this context, refuse real stores to the scenario and its clients: to start one, or use a handle or ref.

    Production code never asks whether it is simulated. While the context lasts, this hooks into an attribute that every
    call on a handle reads anyway, and into the `ask` and `tell` of refs.
    """

    def refuse_start() -> None:
        if scheduler.is_calling():
            scheduler.refuse("in a simulation, open with sim.open(name): what inmem.open opens is not simulated")

    def require_simulated(dispatcher: Dispatcher) -> None:
        if scheduler.is_calling() and not (isinstance(dispatcher, StoreDispatcher) and dispatcher.is_of(scheduler)):
            scheduler.refuse(
                "in a simulation, use what sim.open(name) returns: a handle or ref from outside, such as that of a "
                "pytest fixture, leads to a store that is not simulated"
            )

    def unusable(client: Any) -> Any:
        require_simulated(client.directory.dispatcher)
        return client.__dict__["_unusable"]

    def set_unusable(client: Any, value: Any) -> None:
        client.__dict__["_unusable"] = value

    def tell(ref: Any, message: Any) -> None:
        require_simulated(ref.mailbox.dispatcher)
        real_tell(ref, message)

    def ask(ref: Any, message: Any, **options: Any) -> Any:
        require_simulated(ref.mailbox.dispatcher)
        return real_ask(ref, message, **options)

    real_tell: Any = MailboxRef.tell
    real_ask: Any = MailboxRef.ask
    hooks: tuple[tuple[Any, str, Any], ...] = (
        (Client, "_unusable", property(unusable, set_unusable)),
        (MailboxRef, "tell", tell),
        (MailboxRef, "ask", ask),
    )
    before_start.append(refuse_start)
    with contextlib.ExitStack() as undone:
        undone.callback(before_start.remove, refuse_start)
        for kind, name, hook in hooks:
            if name in vars(kind):
                undone.callback(setattr, kind, name, vars(kind)[name])
            else:
                undone.callback(delattr, kind, name)
            setattr(kind, name, hook)
        yield
