"""From the methods of the plain proxies to those of the async ones: three ways, each a line per method.

To type checkers the result is a descriptor that has the parameters of the method it was made from and returns a
coroutine of its result. In truth it is a plain async function, so `help` and `inspect` show what one would expect.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from inmem.aio.offload import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Self

P = ParamSpec("P")
T = TypeVar("T")


class Proxied(Protocol):
    """Something that has its plain counterpart. That of an async proxy is a plain proxy with an `AsyncClient`."""

    @property
    def plain(self) -> Any:
        """The counterpart."""
        ...


class AsyncMethod(Generic[P, T]):
    """What type checkers take an async method for."""

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type[Any]) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        """Return the bound method."""
        raise NotImplementedError


def at_once(method: Callable[Concatenate[Any, P], T]) -> AsyncMethod[P, T]:
    """Make an async method of one that only looks at the newest snapshot: it never waits, so it runs in the loop."""

    @wraps(method)
    async def call(self: Proxied, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(self.plain, *args, **kwargs)

    return cast("AsyncMethod[P, T]", call)


def in_thread(method: Callable[Concatenate[Any, P], T]) -> AsyncMethod[P, T]:
    """Make an async method of one that takes its time: it runs in a thread, and to its end once it has begun."""

    @wraps(method)
    async def call(self: Proxied, *args: P.args, **kwargs: P.kwargs) -> T:
        return await run_in_thread(method, self.plain, *args, **kwargs)

    return cast("AsyncMethod[P, T]", call)


def requested(method: Callable[Concatenate[Any, P], T]) -> AsyncMethod[P, T]:
    """Make an async method of one that sends a request, by way of its twin among the proxy's `futures`.

    There an `AsyncClient` returns a coroutine where other clients return a future.
    """
    name = method.__name__

    @wraps(method)
    async def call(self: Proxied, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = await getattr(self.plain.futures, name)(*args, **kwargs)
        return result

    return cast("AsyncMethod[P, T]", call)
