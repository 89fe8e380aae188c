"""How the adapters' coroutines call the store: the one place that decides it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `fn` returns, called in a thread, so that the event loop never waits for a lock or a sync.

    A commit under way cannot be taken back. So a cancellation waits until `fn` has come to its end and is raised
    then: when the caller goes on, nothing of his is still being written behind his back.
    """
    call = asyncio.ensure_future(asyncio.to_thread(fn, *args, **kwargs))
    cancelled: asyncio.CancelledError | None = None
    while not call.done():
        try:
            await asyncio.wait([call])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return call.result()
    # The caller asked to be cancelled: what `fn` returned or raised has nobody to go to.
    call.exception()
    raise cancelled
