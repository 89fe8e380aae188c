"""What an exception from outside has cut short while a thread ran actors, and how it is made up for."""

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
    """Noted by a thread without room on its stack, or one that somebody has struck; made up for by who runs next.

    Whoever notes something may call no function of Python's, so that there is no method for it.

    Attributes:
        is_any: whether there is something to make up for, even if nothing was noted.
        messages: what was being delivered, each with its exception and the traceback at that moment.
        deliveries: the same for what was borrowed from a lane.
    """

    __slots__ = ("deliveries", "is_any", "messages")

    def __init__(self) -> None:
        self.is_any = False
        self.messages: deque[tuple[tuple[Mailbox, Any, ReplyTo | None], Cut]] = deque()
        self.deliveries: deque[tuple[tuple[DeliveryLane, Delivery], Cut]] = deque()

    def make_up(self) -> None:
        """Have the actors fail over what was cut short: each had begun with it, or was about to.

        Should this be cut short, it can be called again.
        """
        self.is_any = False
        while self.messages:
            (mailbox, message, reply_to), (error, traceback) = self.messages[0]
            actor = mailbox.actor
            if actor is not None and actor.supervisor is None:
                # Nobody supervises the supervisor: it begins with nothing that it has no room for.
                mailbox.deliver(message, reply_to)
            else:
                mailbox.make_up(message, reply_to, cause_of(error, traceback))
            self.messages.popleft()
        while self.deliveries:
            (lane, delivery), (error, traceback) = self.deliveries[0]
            lane.fail_borrowed(delivery, cause_of(error, traceback))
            self.deliveries.popleft()
