"""Three ways to make an async method from a method of a plain proxy; each takes one line per method.

Type checkers see a descriptor with the parameters of the plain method that returns a coroutine of its result. At run
time it is an ordinary async function, so `help` and `inspect` work as usual.
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
    """An object with a plain counterpart. The counterpart of an async proxy is a plain proxy with an `AsyncClient`."""

    @property
    def plain(self) -> Any:
        """The plain counterpart."""
        ...


class AsyncMethod(Generic[P, T]):
    """The type of an async method, for type checkers only."""

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type[Any]) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        """Return the bound method."""
        raise NotImplementedError


def at_once(method: Callable[Concatenate[Any, P], T]) -> AsyncMethod[P, T]:
    """Make an async method from one that only reads the newest snapshot: it never waits, so it runs in the loop."""

    @wraps(method)
    async def call(self: Proxied, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(self.plain, *args, **kwargs)

    return cast("AsyncMethod[P, T]", call)


def in_thread(method: Callable[Concatenate[Any, P], T]) -> AsyncMethod[P, T]:
    """Make an async method from a slow one: it runs in a thread, and to its end once it has begun."""

    @wraps(method)
    async def call(self: Proxied, *args: P.args, **kwargs: P.kwargs) -> T:
        return await run_in_thread(method, self.plain, *args, **kwargs)

    return cast("AsyncMethod[P, T]", call)


def requested(method: Callable[Concatenate[Any, P], T]) -> AsyncMethod[P, T]:
    """Make an async method from one that sends a request, through the method of the same name in `futures`.

    With an `AsyncClient`, the methods of `futures` return a coroutine instead of a future.
    """
    name = method.__name__

    @wraps(method)
    async def call(self: Proxied, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = await getattr(self.plain.futures, name)(*args, **kwargs)
        return result

    return cast("AsyncMethod[P, T]", call)
