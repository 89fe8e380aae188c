"""Checks of a transaction's arguments: isolation, retry policy, timeout, and the function to run."""

from __future__ import annotations

import inspect
import threading
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, Final

from inmem.engine.commits.retry import RetryPolicy
from inmem.engine.commits.transaction import Isolation
from inmem.engine.errors import UsageError
from inmem.engine.shown import shown
from inmem.primitives.arguments import not_callable, one_of, refuse_coroutine

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_RETRY: Final = RetryPolicy()

_ISOLATIONS: Final[dict[str, Isolation]] = {str(level): level for level in Isolation}


def checked_retry(retry: RetryPolicy) -> None:
    """Raise UsageError unless `retry` is a RetryPolicy."""
    if not issubclass(type(retry), RetryPolicy):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"retry: must be an inmem.RetryPolicy, not {shown(retry)}")


def checked_isolation(isolation: str) -> Isolation:
    """Return the isolation level with that name.

    Raises:
        UsageError: there is no such level.
    """
    if type(isolation) is str and isolation in _ISOLATIONS:
        return _ISOLATIONS[isolation]
    return _ISOLATIONS[one_of("isolation", isolation, _ISOLATIONS)]


def checked_timeout(timeout: float | None) -> float | None:
    """Return a timeout in seconds, or None for no timeout and for one longer than a thread can wait.

    Raises:
        UsageError: it is not a number, or negative.
    """
    kind = type(timeout)
    if timeout is not None and ((kind is not float and kind is not int) or not timeout >= 0):
        raise UsageError(f"timeout: must be a number of seconds, or None, not {shown(timeout)}")
    # A wait longer than this, or infinite, raises OverflowError, and would do so in the middle of the commit.
    return None if timeout is not None and timeout > threading.TIMEOUT_MAX else timeout


def no_function(fn: object) -> UsageError:
    """Return the error for a `fn` that cannot be called."""
    return not_callable("fn", "a function that takes the transaction", fn)


def refuse_unstarted(fn: Callable[..., Any], result: object) -> None:
    """Raise UsageError if `fn` only returned a coroutine or a generator, whose body has not run yet."""
    refuse_coroutine(result)
    refuse_generator(fn, result)


def refuse_generator(fn: Callable[..., Any], result: object) -> None:
    """Raise UsageError if `fn` is a generator function: its body would run after the commit."""
    if isinstance(result, (GeneratorType, AsyncGeneratorType)) and (
        inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn)
    ):
        raise UsageError("fn: must not be a generator function; what it does would be done after the commit")
