"""The steps in which a store closes: work under way is finished, and no new work begins.

    1  the primitive actors   answer their requests, waiting and in flight
    2  the coordinator        answers every commit
    3  the log writer         makes all of it durable, and records the clean close

A close goes on through failures: the request to an actor that has failed goes to its successor, which finds it in its
mailbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.dispatch.mailbox import AsMessage
from inmem.actors.messages.control import CloseStepFailed, NotDrained, PrimitiveDrained
from inmem.actors.messages.core import CloseLog
from inmem.actors.messages.transactions import Drain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inmem.actors.dispatch.mailbox import Mailbox, MailboxRef


class Closing:
    """Asks for each step in turn; the supervisor gets the answers and reports them here.

    Args:
        supervisor: gets the answers.
        primitives: the primitive actors' mailboxes, by name.
        coordinator: drained after the primitive actors.
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
        """Whether step 1 is done, so that the rest is up to the core."""
        return self._asked is not None

    def begin(self) -> None:
        """Step 1."""
        for name in self._primitives:
            self.drain_primitive(name)

    def drain_primitive(self, name: str) -> None:
        """Step 1 for one primitive actor; repeated if it failed on that."""
        answer = AsMessage(
            self._supervisor, lambda _, error: PrimitiveDrained(name) if error is None else NotDrained(name)
        )
        self._primitives[name].ref.send(Drain(), answer)

    def primitive_drained(self, name: str) -> None:
        """Note that one of them is done; step 2 when all are."""
        self._undrained.discard(name)
        if not self._undrained:
            self._ask(self._coordinator, Drain())

    def coordinator_drained(self) -> None:
        """Step 3."""
        self._ask(self._writer, CloseLog())

    def ask_again(self) -> None:
        """Repeat the last request, because the actor has failed on it."""
        if self._asked is not None:
            self._ask(*self._asked)

    def _ask(self, ref: MailboxRef, message: Any) -> None:
        self._asked = ref, message
        ref.send(message, AsMessage(self._supervisor, _answered))


def _answered(value: Any, error: BaseException | None) -> Any:
    return value if error is None else CloseStepFailed(error)
