"""The port of an event loop: requests leave the loop here, and their answers enter it.

Requests go out through a courier, so the loop's thread never runs actors and never waits for a lock. An answer comes
from the thread that runs the answering actor; many answers cost the loop one wake-up.
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
"""Requests of one loop that may be with the store at a time. Further requests wait in the loop, in FIFO order."""

REQUESTS_WAITING_MAX: Final = 100_000
"""Requests that may wait in one loop; further requests are refused with `OverloadedError`."""


class Answer:
    """The answer to one request, in the loop that waits for it. It serves the store as a reply address.

    Args:
        port: the port of the loop.
    """

    __slots__ = ("_port", "future", "is_here", "is_sent")

    def __init__(self, port: Port) -> None:
        self._port = port
        self.future: asyncio.Future[Any] = port.loop.create_future()
        self.is_here = False
        self.is_sent = False

    def set(self, value: Any = None) -> None:
        """Deliver a value, from the store's thread."""
        self._port.deliver(self, value, None)

    def set_exception(self, exc_info: Any = None) -> None:
        """Deliver an error, from the store's thread."""
        self._port.deliver(self, None, as_answer(exc_info[1]))

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Set the answer, in the loop's thread."""
        self.is_here = True
        if self.future.done():
            # The waiting task was cancelled but has not run since. It may still ask for the answer: see `to_the_end`.
            self.future = self._port.loop.create_future()
        if error is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(error)
            # Marks the exception as retrieved: asyncio logs nothing if no task asks for it.
            self.future.exception()

    def withdraw(self) -> bool:
        """Withdraw the request unless it is already with the store; return whether it was withdrawn."""
        if self.is_sent:
            return False
        self._port.forget(self)
        return True

    async def to_the_end(self) -> Any:
        """Wait for the answer, however often the task is cancelled; return its value, or None for an error."""
        while not self.is_here:
            self.future = self._port.loop.create_future()
            try:
                await self.future
            except asyncio.CancelledError:
                continue
            except Exception:  # noqa: BLE001  (the task is being cancelled: nobody asks how it would have ended)
                break
        # If the answer and a cancellation come in the same iteration of the loop, `future` holds the answer here.
        return None if self.future.exception() is not None else self.future.result()


class Port:
    """Carries one handle's requests from one event loop to the store. Only `deliver` may be called in other threads.

    Args:
        loop: the event loop.
        courier: sends the requests.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, courier: Courier) -> None:
        self.loop = loop
        self._courier = courier
        self._under_way = 0
        # In order of arrival. A mapping, because a cancelled request is removed from any position in O(1).
        self._waiting: OrderedDict[Answer, tuple[MailboxRef, Any]] = OrderedDict()
        self._arrived: deque[tuple[Answer, Any, BaseException | None]] = deque()
        self._is_woken = False

    def ask(self, ref: MailboxRef, message: Any) -> Answer:
        """Send a request as soon as there is room, and return the pending answer.

        Raises:
            OverloadedError: too many requests are waiting.
        """
        answer = Answer(self)
        if self._under_way < REQUESTS_UNDER_WAY_MAX:
            self._send(ref, message, answer)
        elif len(self._waiting) < REQUESTS_WAITING_MAX:
            self._waiting[answer] = ref, message
        else:
            raise OverloadedError("the event loop", REQUESTS_WAITING_MAX)
        return answer

    def forget(self, answer: Answer) -> None:
        """Remove the request of `answer` from the waiting requests, if it is there. O(1)."""
        self._waiting.pop(answer, None)

    def tell(self, ref: MailboxRef, message: Any) -> None:
        """Send a message that has no answer, without waiting for room."""
        self._courier.send(ref, message, None)

    def deliver(self, answer: Answer, value: Any, error: BaseException | None) -> None:
        """Hand an answer that has arrived to the loop, from any thread."""
        self._arrived.append((answer, value, error))
        if not self._is_woken:
            self._is_woken = True
            try:
                call_soon(self.loop, self._hand_out)
            except BaseException:
                # Otherwise no later answer would wake the loop.
                self._is_woken = False
                raise

    def _hand_out(self) -> None:
        # Cleared before reading `_arrived`: a thread that adds an answer from now on wakes the loop again.
        self._is_woken = False
        arrived = self._arrived
        while arrived:
            answer, value, error = arrived.popleft()
            if answer.is_here:
                # The store's answer to a request that the courier answered with an error when it was interrupted.
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
    """Have the loop call `function`, from any thread. Do nothing if the loop is closed: nothing waits in it then."""
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        if not loop.is_closed():
            raise
