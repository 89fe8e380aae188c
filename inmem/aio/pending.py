"""What can be awaited, and can be the subject of `async with`: something that takes a moment to come about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from inmem.engine.errors import UsageError
from inmem.engine.shown import shown

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


class Pending(Generic[ClosingT]):
    """``x = await pending`` makes it, ``async with pending as x`` also ends it. Nothing happens before either.

    It makes one thing: a second use is refused with `UsageError`.

    Args:
        call: what has returned it, for messages.
        make: makes it.
        of: what it is made of, for people.
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
        # To type checkers there is no such attribute.
        def __getattr__(self, name: str) -> Any:
            # One that is being copied has no fields yet.
            call = self.__dict__.get("_call", "this")
            raise AttributeError(f"`await` what {call} returns, or use it with `async with`: only that has {name!r}")

        def __enter__(self) -> Any:
            raise TypeError(f"what {self._call} returns takes `async with`, not `with`")

        def __exit__(self, *exc: object) -> None:
            """Never reached; without it, Python would miss this one instead."""

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
        # Entered twice, one inside the other, it would forget what it has made first and never end it.
        if self._is_used:
            raise UsageError(f"{self._call}: was awaited or entered before: each use takes a call of its own")
        self._is_used = True
        return self._make()
