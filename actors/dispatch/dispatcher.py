"""Dispatchers decide which thread empties which mailbox. Actors need mailboxes, not threads.

With every dispatcher, an actor handles one message at a time, and messages from one sender to one receiver arrive in
the order in which they were sent.
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
        """Deliver `message`, after everything that this sender has posted to this mailbox before."""
        ...

    def pass_on(self, mailbox: Mailbox, message: Any) -> None:
        """Like `post`, without an answer, from within a handler; neither actor may have a thread of its own."""
        ...

    def ask(self, mailbox: Mailbox, message: Any, timeout_s: float | None) -> Any:
        """Deliver `message` like `post`, wait for the answer and return it, or raise it if it is an error.

        Raises:
            pykka.Timeout: no answer within `timeout_s` seconds.
        """
        ...

    def post_all(self, letters: Iterable[Letter]) -> None:
        """Like `post` for each letter, in this order, but queue all of them before the first is handled."""
        ...

    def post_later(self, delay_s: float, mailbox: Mailbox, message: Any, *, idle: bool = False) -> None:
        """Deliver `message` after `delay_s` seconds.

        An `idle` message is housekeeping that nobody waits for: a store at rest may have such timers.
        """
        ...

    def future(self) -> ReplyFuture[Any]:
        """Return an empty future that this dispatcher's clients can wait for."""
        ...

    def wait(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Return when `future` is done or `timeout_s` seconds have passed."""
        ...

    def idle(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Like `wait`, for a reply that may take long or never come: the thread does no work while it waits."""
        ...

    def sleep(self, delay_s: float) -> None:
        """Pause the calling client thread."""
        ...

    def depth(self, mailbox: Mailbox) -> int:
        """Return the approximate number of messages that wait for this mailbox."""
        ...

    def backlog(self, mailbox: Mailbox) -> int:
        """Return how many messages will be delivered before one posted to this mailbox now. O(1)."""
        ...

    def close(self, mailbox: Mailbox) -> None:
        """Release what belongs to a retired mailbox, such as its thread."""
        ...

    def shut_down(self) -> None:
        """Stop the timers. Called last, when every mailbox is retired."""
        ...
