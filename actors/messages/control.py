"""What supervisor and actors say about life and death."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from inmem.actors.actor import Owed, StoreActor


class Connect(NamedTuple):
    """Client → supervisor: where is everybody? Answered by a `Directory`."""


class Halt(NamedTuple):
    """Supervisor → actor: handle nothing more; hand over what you owe. Answered by `Halted`."""

    core: int


class Halted(NamedTuple):
    """Actor → supervisor: I handle nothing any more, and these callers wait for an answer of mine."""

    name: str
    core: int
    owed: tuple[Owed, ...]


class ActorFailed(NamedTuple):
    """Actor → supervisor: a handler raised. The actor handles nothing any more."""

    name: str
    core: int
    error: BaseException
    actor: StoreActor
    message: Any
    """What it was handling."""


class Resume(NamedTuple):
    """Supervisor → mailbox: from now on this actor is behind the address; what has piled up goes to it first."""

    actor: StoreActor


class Retire(NamedTuple):
    """Supervisor → actor: the store is closed; stop for good."""


class Recover(NamedTuple):
    """Client → supervisor: try to rebuild a store that has failed. Answered by nothing, or refused."""


class Refresh(NamedTuple):
    """Client → supervisor: read what the owner has committed since. Answered by the newest version."""


class Open(NamedTuple):
    """To the supervisor, once: recover the database and start everybody. Answered by a `Directory`."""


class Close(NamedTuple):
    """Client → supervisor: finish what is under way, make it durable, stop everybody. Answered when done."""


class LogCloseFailed(NamedTuple):
    """Log writer → supervisor: the log could not be closed cleanly."""

    error: BaseException


class PrimitiveDrained(NamedTuple):
    """Primitive actor → supervisor: nothing waits in this actor and nothing is in flight."""

    name: str
