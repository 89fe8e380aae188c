"""The rules by which a mailbox accepts or refuses a message: what may come in, and how much may wait.

Senders that do not wait for answers, through futures or `tell`, can be faster than the store. Waiting requests are held
in memory, so there is a bound on their number and one on their bytes.

The bytes need no counter: a request is refused if as many of its size as are ahead of it would exceed the limit. So of
n waiting requests, the k-th is no larger than a k-th of the limit, and all together hold at most 1 + 1/2 + ... + 1/n
times the limit: a dozen times for the 100,000 requests that may wait, and once if they are all alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pykka import messages as pykka_messages

from inmem.actors.messages.message import Message
from inmem.engine.errors import OverloadedError, UsageError
from inmem.engine.shown import type_name

if TYPE_CHECKING:
    from inmem.actors.messages.request import Request
    from inmem.engine.limits import Limits

FEW = 16
"""This few requests are not weighed: with values of the default maximum size they are just as much as may wait."""


def require_message(message: Any) -> None:
    """Return if the message may be sent to an actor of the store: if it is one of the store's own, or of pykka's.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(message, Message) or type(message).__module__ == pykka_messages.__name__:
        return
    kind: Any = message
    if isinstance(kind, type) and issubclass(kind, Message):
        raise UsageError(f"{kind.__name__} is a class: send {kind.__name__}(…)")
    raise UsageError(f"what a store is sent must be a message of inmem.messages, not {type_name(message)}")


def refusal_of(name: str, request: Request, ahead: int, limits: Limits) -> OverloadedError | None:
    """Return the error for a request that may not wait behind `ahead` others in `name`; None if it may. O(parts)."""
    if ahead >= limits.waiting_requests_max:
        return OverloadedError(name, limits.waiting_requests_max, "requests")
    if ahead > FEW and ahead * request.size_bytes > limits.waiting_bytes_max:
        return OverloadedError(name, limits.waiting_bytes_max, "bytes")
    return None
