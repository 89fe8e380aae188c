"""Which actor handles which message from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.messages.core import Checkpoint, Flush
from inmem.actors.messages.transactions import Begin, CancelCommit, Commit, ReadOutcome, ReadStats, SettleCommit
from inmem.actors.requests.primitive_actors import PRIMITIVE_ACTORS
from inmem.actors.watch_actor import WatchActor

if TYPE_CHECKING:
    from inmem.actors.core.core import CoreMailboxes
    from inmem.actors.dispatch.mailbox import MailboxRef
    from inmem.actors.requests.primitive_keeper import PrimitiveKeeper


def routes_of(core: CoreMailboxes, primitives: PrimitiveKeeper) -> dict[type, MailboxRef]:
    """Return the address of the actor that handles a message, by class of message."""
    routes: dict[type, MailboxRef] = {
        request: primitives.mailboxes[name].ref
        for name, actor_class in PRIMITIVE_ACTORS.items()
        for request in actor_class.HANDLES
    }
    routes |= dict.fromkeys((Begin, Commit, CancelCommit, SettleCommit, ReadOutcome, ReadStats), core.coordinator.ref)
    routes |= dict.fromkeys((Flush, Checkpoint), core.writer.ref)
    return routes | dict.fromkeys(WatchActor.HANDLES, primitives.watches.ref)
