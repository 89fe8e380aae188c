"""What supervisor and actors say about life and death."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.messages.message import Message

if TYPE_CHECKING:
    from inmem.actors.dispatch.actor import StoreActor


class Connect(Message, frozen=True):
    """Client → supervisor: where is everybody? Answered by a `Directory`."""


class Halt(Message, frozen=True):
    """Supervisor → actor: handle nothing more; hand over what you owe. Answered by `Halted`."""

    core: int


class Halted(Message, frozen=True):
    """Actor → supervisor: I handle nothing any more. What I owe is for others to answer."""

    name: str
    core: int
    actor: StoreActor


class ActorFailed(Message, frozen=True):
    """Actor → supervisor: a handler raised. The actor handles nothing any more."""

    name: str
    core: int
    error: BaseException
    actor: StoreActor
    message: Any
    """What it was handling."""
    is_its_own: bool
    """Whether the error is the actor's, and not one that was meant for the thread that ran it."""


class Resume(Message, frozen=True):
    """Supervisor → mailbox: from now on this actor is behind the address; what has piled up goes to it first."""

    actor: StoreActor


class GoOn(Message, frozen=True):
    """Supervisor → successor of a primitive actor: go on where it stopped."""


class Retire(Message, frozen=True):
    """Supervisor → actor: the store is closed; stop for good."""


class Recover(Message, frozen=True):
    """Client → supervisor: try to rebuild a store that has failed. Answered by nothing, or refused."""


class Refresh(Message, frozen=True):
    """Client → supervisor: read what the owner has committed since. Answered by the newest version."""


class Open(Message, frozen=True):
    """To the supervisor, once: recover the database and start everybody. Answered by a `Directory`."""


class Close(Message, frozen=True):
    """Client → supervisor: finish what is under way, make it durable, stop everybody. Answered when done."""


class CloseStepFailed(Message, frozen=True):
    """Coordinator or log writer → supervisor: what a close had asked for could not be done."""

    error: BaseException


class PrimitiveDrained(Message, frozen=True):
    """Primitive actor → supervisor: nothing waits in this actor and nothing is in flight."""

    name: str


class NotDrained(Message, frozen=True):
    """The same: this actor has failed before it was."""

    name: str
