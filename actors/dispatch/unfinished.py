"""The work of a thread that ran actors and was interrupted by an exception from outside, and how it is made up for."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from inmem.actors.dispatch.stack_room import ROOM_FRAMES, NoRoomError

if TYPE_CHECKING:
    from types import TracebackType

    from inmem.actors.dispatch.mailbox import Mailbox, ReplyTo
    from inmem.actors.dispatch.mailbox_lane import Delivery, DeliveryLane

Cut: TypeAlias = "tuple[BaseException, TracebackType | None]"


class CutShortError(Exception):
    """An exception from outside has ended the thread that ran an actor, which is not the actor's fault."""


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
                mailbox.make_up(message, reply_to, _cause_of(error, traceback))
            self.messages.popleft()
        while self.deliveries:
            (lane, delivery), (error, traceback) = self.deliveries[0]
            lane.fail_borrowed(delivery, _cause_of(error, traceback))
            self.deliveries.popleft()


def _cause_of(error: BaseException, traceback: TracebackType | None) -> BaseException:
    """Return why `error` interrupted an actor: as NoRoomError if the stack was full, else the error itself.

    An exception that was to end the thread concerns nobody else, and is returned as CutShortError.

    Args:
        error: the exception that left the actor.
        traceback: from the call of the actor down to where the error was raised.
    """
    if not isinstance(error, Exception):
        return CutShortError(repr(error)).with_traceback(error.__traceback__)
    if type(error) is not RecursionError:
        return error
    frames = 0
    while traceback is not None and frames < ROOM_FRAMES:
        traceback = traceback.tb_next
        frames += 1
    # An actor that recurses without end fills the stack by itself.
    return error if frames == ROOM_FRAMES else NoRoomError(*error.args)
