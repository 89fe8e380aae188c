"""Who runs the actors. Actors need mailboxes, not threads; a dispatcher decides what thread empties which mailbox.

Whatever the dispatcher: one actor handles one message at a time, and what one sender sends to one receiver arrives in
the order in which it was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inmem.actors.dispatch.future import ReplyFuture
    from inmem.actors.dispatch.mailbox import Mailbox, ReplyTo

    Letter: TypeAlias = tuple[Mailbox, Any, ReplyTo | None]
    """(receiver, message, where the answer goes)."""


class Dispatcher(Protocol):
    """Delivers messages, and lets client threads wait, sleep and set timers."""

    def post(self, mailbox: Mailbox, message: Any, reply_to: ReplyTo | None) -> None:
        """Have `message` delivered, after everything that this sender posted to this mailbox before."""
        ...

    def pass_on(self, mailbox: Mailbox, message: Any) -> None:
        """Like `post`, without an answer, from within a handler; neither actor has a thread of its own."""
        ...

    def ask(self, mailbox: Mailbox, message: Any, timeout_s: float | None) -> Any:
        """Have `message` delivered like `post`, wait for the answer and return it, or raise it if it is an error.

        Raises:
            pykka.Timeout: there was none within `timeout_s` seconds.
        """
        ...

    def post_all(self, letters: Iterable[Letter]) -> None:
        """Like `post` for each of them, in this order; but all are on their way before the first is handled."""
        ...

    def post_later(self, delay_s: float, mailbox: Mailbox, message: Any, *, idle: bool = False) -> None:
        """Have `message` delivered when `delay_s` seconds have passed.

        An `idle` one is housekeeping that nobody waits for: a store at rest may have such timers.
        """
        ...

    def future(self) -> ReplyFuture[Any]:
        """Return an empty future that this dispatcher's clients can wait for."""
        ...

    def wait(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Return when `future` is done or `timeout_s` seconds have passed."""
        ...

    def idle(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Like `wait`, for what may be long in coming, or never come: the thread takes no part in work meanwhile."""
        ...

    def sleep(self, delay_s: float) -> None:
        """Let the calling client thread pause."""
        ...

    def depth(self, mailbox: Mailbox) -> int:
        """Return roughly how many messages wait for this mailbox."""
        ...

    def backlog(self, mailbox: Mailbox) -> int:
        """Return how many messages will be delivered before one that is posted to this mailbox now. O(1)."""
        ...

    def close(self, mailbox: Mailbox) -> None:
        """Let go of what belongs to a retired mailbox, such as its thread."""
        ...

    def shut_down(self) -> None:
        """Stop timers; called last, when every mailbox is retired."""
        ...
