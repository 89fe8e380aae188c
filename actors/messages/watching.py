"""The change feed as messages: how an actor subscribes, and what the store sends it."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import pykka

from inmem.actors.messages import edge
from inmem.actors.messages.message import Message
from inmem.actors.messages.request import Request
from inmem.engine.errors import InmemError  # noqa: TC001  (`help` evaluates the annotations)
from inmem.engine.keys import normalize_run_id
from inmem.primitives.change import Change, PrimitiveName


class Watch(Request, frozen=True):
    """Send `ref` the committed changes in `Changed` messages, in commit order, until a `WatchEnded`.

    The arguments are those of `Database.watch`. A slow actor is not flooded: it gets the next message only after it has
    handled the previous one. The reply is the version after which the changes begin, or a `WatchGapError`. If the
    message was sent with `tell`, the error goes to `ref` in a `WatchEnded` instead.
    """

    ref: pykka.ActorRef[Any]
    run: str | UUID | None = None
    primitive: PrimitiveName | None = None
    after_version: int | None = None

    EDGE: ClassVar = {
        "ref": edge.actor_ref,
        "run": edge.optional(normalize_run_id),
        "primitive": edge.primitive,
        "after_version": edge.optional(edge.version),
    }


class Unwatch(Request, frozen=True):
    """End all watches of `ref`; one more `Changed` may be in flight. The reply is the number of watches ended."""

    ref: pykka.ActorRef[Any]

    EDGE: ClassVar = {"ref": edge.actor_ref}


class Changed(Message, frozen=True):
    """Store → watching actor: the changes committed since the previous message."""

    changes: tuple[Change, ...]
    """The changes of whole commits, in commit order."""
    version: int
    """Every matching change up to this version has been sent. Pass it as `after_version` to continue from here."""


class WatchEnded(Message, frozen=True):
    """Store → watching actor: there will be no further `Changed`."""

    version: int
    """Every matching change up to this version has been sent."""
    error: InmemError
    """The reason: DatabaseClosedError after a close, WatchGapError if changes would be skipped, StoreFailedError."""


class FeedGrown(Message, frozen=True):
    """Feed → watch actor: there may be new commits."""


class LookOn(Message, frozen=True):
    """Watch actor → itself: continue reading for watcher `number`, whose last read stopped before the feed's end."""

    number: int


class Taken(Message, frozen=True):
    """To the watch actor: watcher `number` has handled its last message, or is dead."""

    number: int
    is_dead: bool
