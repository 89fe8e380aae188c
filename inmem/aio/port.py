"""Where requests leave an event loop, and where their answers come in.

Requests go out through a courier, so the loop's thread never runs actors and never waits for a lock. Answers come from
whatever thread runs the actor that answers; many of them cost the loop one wake-up.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

from inmem.actors.client.courier import as_answer
from inmem.engine.errors import OverloadedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.actors.client.courier import Courier
    from inmem.actors.dispatch.mailbox import MailboxRef

REQUESTS_UNDER_WAY_MAX: Final = 1_024
"""Requests of one loop that are with the store at a time. Further ones wait in the loop, first come, first served."""

REQUESTS_WAITING_MAX: Final = 100_000
"""Requests that may wait in one loop; more are refused with `OverloadedError`."""


class Answer:
    """The answer to one request, in the loop that waits for it. A reply address for the store.

    Args:
        port: of the loop.
        convert: applied to the answer where it arrives, in the store's thread.
    """

    __slots__ = ("_convert", "_port", "future", "is_here", "is_sent")

    def __init__(self, port: Port, convert: Callable[[Any], Any] | None) -> None:
        self._port = port
        self._convert = convert
        self.future: asyncio.Future[Any] = port.loop.create_future()
        self.is_here = False
        self.is_sent = False

    def set(self, value: Any = None) -> None:
        """From the store: a value."""
        self._port.deliver(self, value if self._convert is None else self._convert(value), None)

    def set_exception(self, exc_info: Any = None) -> None:
        """From the store: an error."""
        self._port.deliver(self, None, as_answer(exc_info[1]))

    def settle(self, value: Any, error: BaseException | None) -> None:
        """In the loop: the answer is here."""
        self.is_here = True
        if self.future.done():
            # Whoever waits has been cancelled and has not heard of it yet. It may ask all the same: see `to_the_end`.
            self.future = self._port.loop.create_future()
        if error is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(error)
            # Looked at, so that nobody complains if nobody asks.
            self.future.exception()

    def withdraw(self) -> bool:
        """Take the request back, unless it is with the store already; return whether nothing will come of it."""
        if self.is_sent:
            return False
        self._port.forget(self)
        return True

    async def to_the_end(self) -> Any:
        """Return the answer's value, or None for an error, however often the task is cancelled meanwhile."""
        while not self.is_here:
            self.future = self._port.loop.create_future()
            try:
                await self.future
            except asyncio.CancelledError:
                continue
            except Exception:  # noqa: BLE001  (the task is being cancelled: nobody asks how it would have ended)
                break
        # An answer and a cancellation may come in the same turn of the loop: then it is there all the same.
        return None if self.future.exception() is not None else self.future.result()


class Port:
    """Carries one handle's requests from one event loop to the store. All but `deliver` is for the loop's thread.

    Args:
        loop: the loop.
        courier: takes the requests.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, courier: Courier) -> None:
        self.loop = loop
        self._courier = courier
        self._under_way = 0
        # In the order in which they came; whoever gives up leaves from anywhere in it, at once.
        self._waiting: OrderedDict[Answer, tuple[MailboxRef, Any]] = OrderedDict()
        self._arrived: deque[tuple[Answer, Any, BaseException | None]] = deque()
        self._is_woken = False

    def ask(self, ref: MailboxRef, message: Any, convert: Callable[[Any], Any] | None = None) -> Answer:
        """Send a request as soon as there is room, and return its answer to be.

        Raises:
            OverloadedError: too many wait already.
        """
        answer = Answer(self, convert)
        if self._under_way < REQUESTS_UNDER_WAY_MAX:
            self._send(ref, message, answer)
        elif len(self._waiting) < REQUESTS_WAITING_MAX:
            self._waiting[answer] = ref, message
        else:
            raise OverloadedError("the event loop", REQUESTS_WAITING_MAX)
        return answer

    def forget(self, answer: Answer) -> None:
        """Take the request of `answer` out of those that wait, if it is one of them. O(1)."""
        self._waiting.pop(answer, None)

    def tell(self, ref: MailboxRef, message: Any) -> None:
        """Send a message that has no answer, at once."""
        self._courier.send(ref, message, None)

    def deliver(self, answer: Answer, value: Any, error: BaseException | None) -> None:
        """From any thread: an answer has arrived."""
        self._arrived.append((answer, value, error))
        if not self._is_woken:
            self._is_woken = True
            try:
                call_soon(self.loop, self._hand_out)
            except BaseException:
                # Otherwise nobody would ever wake the loop again.
                self._is_woken = False
                raise

    def _hand_out(self) -> None:
        # Before looking: whoever adds an answer from now on wakes the loop again.
        self._is_woken = False
        arrived = self._arrived
        while arrived:
            answer, value, error = arrived.popleft()
            if answer.is_here:
                # The courier was cut short while it sent the request, and has answered before the store.
                continue
            self._under_way -= 1
            answer.settle(value, error)
        while self._waiting and self._under_way < REQUESTS_UNDER_WAY_MAX:
            answer, (ref, message) = self._waiting.popitem(last=False)
            self._send(ref, message, answer)

    def _send(self, ref: MailboxRef, message: Any, answer: Answer) -> None:
        self._under_way += 1
        answer.is_sent = True
        self._courier.send(ref, message, answer)


def call_soon(loop: asyncio.AbstractEventLoop, function: Callable[[], Any]) -> None:
    """From any thread: have the loop call `function`; if it is closed nobody waits any more, and nothing happens."""
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        if not loop.is_closed():
            raise
