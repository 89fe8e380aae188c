"""One thread for each actor, as for pykka's own actors."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from inmem.actors.dispatch import interrupts
from inmem.actors.dispatch.future import ReplyFuture
from inmem.actors.dispatch.mailbox import refuse_dead
from inmem.actors.dispatch.mailbox_lane import mailbox_lane
from inmem.actors.dispatch.reentrancy import require_outside
from inmem.actors.dispatch.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inmem.actors.dispatch.dispatcher import Letter
    from inmem.actors.dispatch.mailbox import Mailbox, ReplyTo
    from inmem.actors.dispatch.mailbox_lane import DeliveryLane


class ThreadsDispatcher:
    """A lane, and so a thread, for every mailbox."""

    def __init__(self) -> None:
        self._lanes: dict[Mailbox, DeliveryLane] = {}
        self._timers = Timers()

    def future(self) -> ReplyFuture[Any]:
        """Return an empty future; waiting for it blocks the thread."""
        return ReplyFuture(self)

    def post(self, mailbox: Mailbox, message: Any, reply_to: ReplyTo | None) -> None:
        """Queue a message for the mailbox's thread."""
        lane = self._lanes.get(mailbox)
        if lane is not None:
            lane.put((message, reply_to))
        elif mailbox.stopped:
            # Its lane is closed, and nobody would ever close a new one.
            refuse_dead(mailbox, reply_to)
        else:
            self._lanes.setdefault(mailbox, mailbox_lane(mailbox)).put((message, reply_to))
            self._look_again(mailbox)
        if interrupts.pending:
            interrupts.raise_pending()

    def pass_on(self, mailbox: Mailbox, message: Any) -> None:
        """Queue a message for the mailbox's thread."""
        self.post(mailbox, message, None)

    def ask(self, mailbox: Mailbox, message: Any, timeout_s: float | None) -> Any:
        """Queue a message for the mailbox's thread, and block until the answer has arrived."""
        future = self.future()
        self.post(mailbox, message, future)
        return future.get(timeout=timeout_s)

    def post_all(self, letters: Iterable[Letter]) -> None:
        """Queue messages for the mailboxes' threads."""
        for letter in letters:
            self.post(*letter)

    def post_later(self, delay_s: float, mailbox: Mailbox, message: Any, *, idle: bool = False) -> None:  # noqa: ARG002
        """Queue a message later, from the timer thread."""
        self._timers.call_later(delay_s, lambda: self.post(mailbox, message, None))

    def wait(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Block until the reply has arrived.

        Raises:
            UsageError: this is an actor's thread, which would wait for itself.
        """
        if not future.done:
            require_outside()
        future.block(timeout_s)

    def idle(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Block until the reply has arrived."""
        future.block(timeout_s)
        if interrupts.pending:
            interrupts.raise_pending()

    def sleep(self, delay_s: float) -> None:
        """Pause the calling thread."""
        time.sleep(delay_s)

    def depth(self, mailbox: Mailbox) -> int:
        """Count the messages waiting for this mailbox."""
        lane = self._lanes.get(mailbox)
        return 0 if lane is None else lane.depth() + len(mailbox.stash)

    def backlog(self, mailbox: Mailbox) -> int:
        """Count the messages waiting for this mailbox."""
        return self.depth(mailbox)

    def close(self, mailbox: Mailbox) -> None:
        """End the thread of a retired mailbox."""
        lane = self._lanes.pop(mailbox, None)
        if lane is not None:
            lane.close()

    def shut_down(self) -> None:
        """Stop the timers."""
        self._timers.stop()

    def _look_again(self, mailbox: Mailbox) -> None:
        """End a lane made for a mailbox that has been stopped since.

        A mailbox is stopped before its lane is closed, so either the closing thread or this one finds the new lane.
        """
        lane = self._lanes.pop(mailbox, None) if mailbox.stopped else None
        if lane is not None:
            lane.end()
