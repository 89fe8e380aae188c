"""Arguments that several primitives take."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from inmem.engine.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


def several(where: str, items: Iterable[T], refusal: type[UsageError] = UsageError) -> Iterator[T]:
    """Return an iterator over the argument named `where`.

    Raises:
        UsageError: it is one str, whose characters nobody means, or cannot be iterated over. Of the class `refusal`.
    """
    if isinstance(items, str):
        raise refusal(f"{where}: must be several str, not one")
    try:
        return iter(items)
    except TypeError:
        raise refusal(f"{where}: must be iterable, not {type(items).__name__}") from None
