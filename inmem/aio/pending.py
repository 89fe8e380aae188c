"""The result of `open`, `connect` and `begin`: it can be awaited or used with `async with`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from inmem.engine.errors import UsageError
from inmem.engine.shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from types import TracebackType


class Closing(Protocol):
    """An async context manager whose `__aenter__` returns itself."""

    async def __aenter__(self) -> Self:
        """Return this object."""
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close this object."""
        ...


ClosingT = TypeVar("ClosingT", bound=Closing)


class Pending(Generic[ClosingT]):
    """An object yet to be made: ``x = await pending`` makes it, ``async with pending as x`` makes it and closes it.

    Nothing happens before either. A second use is refused with `UsageError`.

    Args:
        call: the name of the call that returned this, for messages.
        make: makes the object.
        of: the argument or handle it is made from, for `repr`.
    """

    _made: ClosingT | None = None
    _is_used = False

    def __init__(self, call: str, make: Callable[[], Coroutine[Any, Any, ClosingT]], of: object) -> None:
        self._call = call
        self._make = make
        self._of = of

    def __repr__(self) -> str:
        return f"<inmem.aio: {self._call} of {shown(self._of)}, {'used' if self._is_used else 'to be awaited'}>"

    if not TYPE_CHECKING:
        # Hidden from type checkers, which then reject any such attribute.
        def __getattr__(self, name: str) -> Any:
            # While `copy` builds an instance, it has no fields yet.
            call = self.__dict__.get("_call", "this")
            raise AttributeError(f"`await` what {call} returns, or use it with `async with`: only that has {name!r}")

        def __enter__(self) -> Any:
            raise TypeError(f"what {self._call} returns takes `async with`, not `with`")

        def __exit__(self, *exc: object) -> None:
            """Never called. Without it, Python would complain of a missing `__exit__` and not call `__enter__`."""

    def __await__(self) -> Generator[Any, Any, ClosingT]:
        return self._make_once().__await__()

    async def __aenter__(self) -> ClosingT:
        self._made = await self._make_once()
        return await self._made.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._made is not None:
            await self._made.__aexit__(exc_type, exc, traceback)

    def _make_once(self) -> Coroutine[Any, Any, ClosingT]:
        # If entered twice, one inside the other, it would lose the first object and never close it.
        if self._is_used:
            raise UsageError(f"{self._call}: was awaited or entered before: each use takes a call of its own")
        self._is_used = True
        return self._make()
