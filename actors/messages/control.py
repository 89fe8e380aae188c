"""The messages of the actors' life cycle: starting, failing, recovering and closing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.messages.message import Message

if TYPE_CHECKING:
    from inmem.actors.dispatch.actor import StoreActor


class Connect(Message, frozen=True):
    """Client → supervisor: ask for the addresses of the actors. The reply is a `Directory`."""


class Halt(Message, frozen=True):
    """Supervisor → actor: handle no more messages, and hand over the unanswered requests. The reply is `Halted`."""

    core: int


class Halted(Message, frozen=True):
    """Actor → supervisor: this actor handles no more messages. Others must answer the requests it still owes."""

    name: str
    core: int
    actor: StoreActor


class ActorFailed(Message, frozen=True):
    """Actor → supervisor: a handler raised an exception. The actor handles no more messages."""

    name: str
    core: int
    error: BaseException
    actor: StoreActor
    message: Any
    """The message that it was handling."""
    is_its_own: bool
    """Whether the actor itself failed. If not, the exception was meant for the thread that ran it, such as Ctrl-C."""


class Resume(Message, frozen=True):
    """Supervisor → mailbox: deliver to this actor from now on, beginning with the messages that have piled up."""

    actor: StoreActor


class GoOn(Message, frozen=True):
    """Supervisor → successor of a primitive actor: continue where the predecessor stopped."""


class Retire(Message, frozen=True):
    """Supervisor → actor: the store is closed; stop for good."""


class Recover(Message, frozen=True):
    """Client → supervisor: try to rebuild a store that has failed. The reply is None, or an error."""


class Refresh(Message, frozen=True):
    """Client → supervisor: read what the owner has committed since. The reply is the newest version."""


class Open(Message, frozen=True):
    """To the supervisor, once: recover the database and start all actors. The reply is a `Directory`."""


class Close(Message, frozen=True):
    """Client → supervisor: finish work in flight, make it durable, stop all actors. The reply comes when done."""


class CloseStepFailed(Message, frozen=True):
    """Coordinator or log writer → supervisor: a step of the close failed."""

    error: BaseException


class PrimitiveDrained(Message, frozen=True):
    """Primitive actor → supervisor: this actor has no request waiting and no commit in flight."""

    name: str


class NotDrained(Message, frozen=True):
    """Primitive actor → supervisor: this actor failed before it had drained."""

    name: str
