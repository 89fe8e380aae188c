"""Argument checks shared by several operations."""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar

from inmem.engine.errors import UsageError
from inmem.engine.limits import INT_MAX
from inmem.engine.shown import shown, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

T = TypeVar("T")


def refused(where: str, reason: str) -> UsageError:
    """Return the error about the argument named `where`."""
    return UsageError(f"{where}: {reason}")


def several(where: str, items: Iterable[T], refusal: Callable[[str, str], UsageError] = refused) -> Iterator[T]:
    """Return an iterator over the argument named `where`.

    Raises:
        UsageError: `items` is a single str (iterating over its characters is a mistake) or not iterable. `refusal`
            makes the error.
    """
    if issubclass(type(items), str):
        raise refusal(where, "must be several str, not one")
    try:
        return iter(items)
    except TypeError:
        raise refusal(where, f"must be iterable, not {type_name(items)}") from None


def not_callable(where: str, wanted: str, given: object) -> UsageError:
    """Return the error about the argument named `where`, which is called, but cannot be.

    Args:
        where: what the caller calls it.
        wanted: what it must be, as the message is to say it.
        given: what it is.
    """
    return UsageError(f"{where}: must be {wanted}, not {type_name(given)}")


def require_callable_or_none(where: str, wanted: str, given: object) -> None:
    """Raise UsageError unless the argument named `where` can be called, or is None. See `not_callable`."""
    if given is not None and not callable(given):
        raise not_callable(where, f"{wanted}, or None", given)


def refuse_coroutine(result: object) -> None:
    """Raise UsageError if the caller's function returned a coroutine, whose body has not run yet."""
    if isinstance(result, CoroutineType):
        result.close()
        raise UsageError("fn: must be a plain function; an async one would run after the commit")


def one_of(where: str, argument: Any, choices: Collection[str], *, also: str = "") -> str:
    """Return the member of `choices` that equals the argument named `where`, as a plain str.

    Args:
        where: the argument's name, for the error message.
        argument: a str, or a member of a StrEnum.
        choices: the allowed values.
        also: what else is accepted, in the words of the error message.

    Raises:
        UsageError: the argument is not one of `choices`.
    """
    meant = ""
    if issubclass(type(argument), str):
        name = str.__str__(argument)
        if name in choices:
            return name
        spelt = name.casefold()
        meant = "".join(f"; did you mean {str(choice)!r}?" for choice in choices if choice.casefold() == spelt)
    raise UsageError(f"{where}: must be one of {', '.join(choices)}{also}, not {shown(argument)}{meant}")


def checked_count(count: int) -> int:
    """Return the argument `count`, a number of results.

    Raises:
        UsageError: it is not a non-negative int.
    """
    if type(count) is not int or count < 0:
        raise UsageError(f"count: must be an int of at least 0, not {shown(count)}")
    return count


def checked_version(version: int, where: str = "expected_version") -> int:
    """Return the argument named `where`, a version of the database, a key or a cell.

    Raises:
        UsageError: it is not a possible version: not an int, negative, or beyond 64 bits.
    """
    if type(version) is not int or not 0 <= version <= INT_MAX:
        raise UsageError(f"{where}: must be an int from 0 to 2^63 - 1, not {shown(version)}")
    return version
