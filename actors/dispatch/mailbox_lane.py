"""The lane of a mailbox that has a thread of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from inmem.actors.dispatch.lane import Lane

if TYPE_CHECKING:
    from inmem.actors.dispatch.mailbox import Mailbox, ReplyTo

Delivery: TypeAlias = "tuple[Any, ReplyTo | None]"
"""A message, and where its answer goes."""
DeliveryLane: TypeAlias = "Lane[Delivery]"


def mailbox_lane(mailbox: Mailbox) -> DeliveryLane:
    """Return the lane of a mailbox that has a thread of its own."""

    def fail(delivery: Delivery, error: BaseException) -> None:
        """Have the actor fail on the message, whatever the exception was meant to end."""
        mailbox.make_up(*delivery, error)

    return Lane(f"inmem-{mailbox.name}", lambda delivery: mailbox.deliver(*delivery), fail)
