"""Blocking calls from coroutines: in a thread, and always to their end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


async def to_the_end(fn: Callable[[], T]) -> tuple[asyncio.Future[T], asyncio.CancelledError | None]:
    """Call `fn` in a thread and wait until it has ended, however often the task is cancelled meanwhile.

    Returns:
        How it ended, as a future that is done; and the last cancellation, if there was one.
    """
    call = asyncio.ensure_future(asyncio.to_thread(fn))
    cancelled: asyncio.CancelledError | None = None
    while not call.done():
        try:
            await asyncio.wait([call])
        except asyncio.CancelledError as error:
            cancelled = error
    # Looked at, so that nobody complains if the caller is not interested.
    call.exception()
    return call, cancelled


async def run_in_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `fn` returns, called in a thread, so that the event loop never waits for a lock or a sync.

    A commit under way cannot be taken back. So a cancellation waits until `fn` has come to its end and is raised
    then: when the caller goes on, nothing that it has asked for is still being written. What `fn` has raised is its
    cause.
    """
    call, cancelled = await to_the_end(lambda: fn(*args, **kwargs))
    if cancelled is not None:
        raise cancelled from call.exception()
    return call.result()
