"""The change feed as messages: how an actor asks to be told, and what it is told."""

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
    """Have `ref` told `Changed` of what is committed, in commit order, until `WatchEnded`.

    The arguments are those of `Database.watch`. A slow actor is not flooded: it is told more when it has handled what
    it was told before. Answered by the version after which it begins, or refused with `WatchGapError`; if this
    message is only told, `ref` is told of that error in a `WatchEnded`.
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
    """Tell `ref` no more of what it watches; one `Changed` may be on its way already. Answered by how many ended."""

    ref: pykka.ActorRef[Any]

    EDGE: ClassVar = {"ref": edge.actor_ref}


class Changed(Message, frozen=True):
    """Store → whoever watches: this has been committed since the last time."""

    changes: tuple[Change, ...]
    """Of whole commits, in commit order."""
    version: int
    """Everything of interest up to this version has been told: where to begin again, by `after_version`."""


class WatchEnded(Message, frozen=True):
    """Store → whoever watched: there will be no further `Changed`."""

    version: int
    """Everything of interest up to this version has been told."""
    error: InmemError
    """Why: DatabaseClosedError after a close, WatchGapError when something would be skipped, StoreFailedError."""


class FeedGrown(Message, frozen=True):
    """To the watch actor: there may be something new."""


class LookOn(Message, frozen=True):
    """Watch actor → itself: the feed goes on behind what was looked at for watcher `number`."""

    number: int


class Taken(Message, frozen=True):
    """To the watch actor: watcher `number` has handled what it was told, or is dead."""

    number: int
    is_dead: bool
