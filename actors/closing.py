"""The way to the end of a store, one step after the other: what is under way is finished, and nothing new begun.

    1  the primitive actors   answer what waits there, and what they have in flight
    2  the coordinator        answers every commit
    3  the log writer         makes all of it durable, and notes that the store was closed

A close goes on through failures: what was asked of an actor that has failed is asked of its successor, which finds the
question in its mailbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.dispatch.mailbox import AsMessage
from inmem.actors.messages.control import CloseStepFailed, NotDrained, PrimitiveDrained
from inmem.actors.messages.core import CloseLog
from inmem.actors.messages.transactions import Drain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inmem.actors.dispatch.mailbox import Mailbox, MailboxRef


class Closing:
    """Asks for each step in turn; the supervisor hears how it has ended, and says so here.

    Args:
        supervisor: gets the answers.
        primitives: the primitive actors' mailboxes, by name.
        coordinator: drained when they are.
        writer: closes the log.
    """

    def __init__(
        self, supervisor: MailboxRef, primitives: Mapping[str, Mailbox], coordinator: MailboxRef, writer: MailboxRef
    ) -> None:
        self._supervisor = supervisor
        self._primitives = primitives
        self._coordinator = coordinator
        self._writer = writer
        self._undrained = set(primitives)
        self._asked: tuple[MailboxRef, Any] | None = None

    @property
    def waits_for_core(self) -> bool:
        """Whether step 1 is done, and the rest is up to the core."""
        return self._asked is not None

    def begin(self) -> None:
        """Step 1."""
        for name in self._primitives:
            self.drain_primitive(name)

    def drain_primitive(self, name: str) -> None:
        """Step 1, for one of them; again, if it has failed over that."""
        self._primitives[name].ref.send(Drain(), AsMessage(self._supervisor, _drained(name)))

    def primitive_drained(self, name: str) -> None:
        """One of them is done; step 2 when all are."""
        self._undrained.discard(name)
        if not self._undrained:
            self._ask(self._coordinator, Drain())

    def coordinator_drained(self) -> None:
        """Step 3."""
        self._ask(self._writer, CloseLog())

    def ask_again(self) -> None:
        """The actor that was asked last has failed over it."""
        if self._asked is not None:
            self._ask(*self._asked)

    def _ask(self, ref: MailboxRef, message: Any) -> None:
        self._asked = ref, message
        ref.send(message, AsMessage(self._supervisor, _answered))


def _answered(value: Any, error: BaseException | None) -> Any:
    return value if error is None else CloseStepFailed(error)


def _drained(name: str) -> Callable[[Any, BaseException | None], PrimitiveDrained | NotDrained]:
    return lambda _value, error: PrimitiveDrained(name) if error is None else NotDrained(name)
