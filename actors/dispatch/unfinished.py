"""The work of a thread that ran actors and was interrupted by an exception from outside, and how it is made up for."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from inmem.actors.dispatch.stack_room import cause_of

if TYPE_CHECKING:
    from types import TracebackType

    from inmem.actors.dispatch.lane import Lane
    from inmem.actors.dispatch.mailbox import Mailbox, ReplyTo

Delivery: TypeAlias = "tuple[Any, ReplyTo | None]"
DeliveryLane: TypeAlias = "Lane[Delivery]"
Cut: TypeAlias = "tuple[BaseException, TracebackType | None]"


class Unfinished:
    """Noted by a thread whose stack was full or that was interrupted from outside; made up for by the next one to run.

    The thread that notes something may call no Python function, so there is no method for it.

    Attributes:
        is_any: whether there is something to make up for, even if nothing was noted.
        messages: the messages being delivered, each with the exception and its traceback at that moment.
        deliveries: the same for deliveries borrowed from a lane.
    """

    __slots__ = ("deliveries", "is_any", "messages")

    def __init__(self) -> None:
        self.is_any = False
        self.messages: deque[tuple[tuple[Mailbox, Any, ReplyTo | None], Cut]] = deque()
        self.deliveries: deque[tuple[tuple[DeliveryLane, Delivery], Cut]] = deque()

    def make_up(self) -> None:
        """Have the actors fail on the interrupted messages: each had begun with one, or was about to.

        If this call is interrupted, it can be repeated.
        """
        self.is_any = False
        while self.messages:
            (mailbox, message, reply_to), (error, traceback) = self.messages[0]
            actor = mailbox.actor
            if actor is not None and actor.supervisor is None:
                # The supervisor has no supervisor, but it starts nothing that it has no room for: deliver again.
                mailbox.deliver(message, reply_to)
            else:
                mailbox.make_up(message, reply_to, cause_of(error, traceback))
            self.messages.popleft()
        while self.deliveries:
            (lane, delivery), (error, traceback) = self.deliveries[0]
            lane.fail_borrowed(delivery, cause_of(error, traceback))
            self.deliveries.popleft()
