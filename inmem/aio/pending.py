"""What can be awaited, and can be the subject of `async with`: something that takes a moment to come about."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from types import TracebackType


class Closing(Protocol):
    """An async context manager whose context is itself."""

    async def __aenter__(self) -> Self:
        """Return itself."""
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        ...


ClosingT = TypeVar("ClosingT", bound=Closing)
T = TypeVar("T")


class Pending(Generic[ClosingT]):
    """``x = await pending`` makes it, ``async with pending as x`` also ends it. Nothing happens before either.

    Args:
        make: makes it.
    """

    def __init__(self, make: Callable[[], Coroutine[Any, Any, ClosingT]]) -> None:
        self._make = make
        self._made: ClosingT | None = None

    def __await__(self) -> Generator[Any, Any, ClosingT]:
        return self._make().__await__()

    async def __aenter__(self) -> ClosingT:
        self._made = await self._make()
        return await self._made.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._made is not None:
            await self._made.__aexit__(exc_type, exc, traceback)


async def to_the_end(function: Callable[[], T]) -> tuple[asyncio.Future[T], asyncio.CancelledError | None]:
    """Run a function in a thread to its end, however often the task is cancelled meanwhile.

    Returns:
        How it ended, as a future that is done; and the last cancellation, if there was one.
    """
    future = asyncio.get_running_loop().run_in_executor(None, function)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    # Looked at, so that nobody complains if the caller is not interested.
    future.exception()
    return future, cancelled


async def finished(function: Callable[[], T]) -> T:
    """Run a function in a thread and return its result; a cancellation goes on once it has ended."""
    future, cancelled = await to_the_end(function)
    if cancelled is not None:
        raise cancelled
    return future.result()
