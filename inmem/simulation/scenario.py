"""What a scenario must be, so that a run that found nothing has tried something."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from inmem.engine.errors import UsageError


class ScenarioError(UsageError):
    """The scenario, not the store, is at fault: it cannot be run as it is written."""


def require_ran(what: str, returned: Any) -> None:
    """Refuse what a function returns that has not run by having been called.

    Args:
        what: the function, for the message.
        returned: by it.

    Raises:
        ScenarioError: it is a coroutine or a generator, of which nothing has run yet.
    """
    if inspect.iscoroutine(returned):
        # Otherwise Python complains about it a second time, wherever it is collected.
        returned.close()
    elif not (inspect.isgenerator(returned) or inspect.isasyncgen(returned)):
        return
    kind = type(returned).__name__.replace("_", " ")
    raise ScenarioError(
        f"{what} has returned a {kind}, of which nothing has run: a simulation runs plain functions, without async "
        "and yield"
    )


def require_function(name: str, value: Any) -> None:
    """Refuse what cannot be called.

    Raises:
        ScenarioError: it cannot.
    """
    if not callable(value):
        raise ScenarioError(f"{name}: must be a function, not {value!r:.80}")


def require_int(name: str, value: Any) -> None:
    """Refuse what is no seed.

    Raises:
        UsageError: it is not an int.
    """
    if type(value) is not int:
        raise UsageError(f"{name}: must be an int, not {value!r:.80}")


def require_choices(name: str, value: Sequence[int]) -> None:
    """Refuse what no run can have chosen.

    Raises:
        UsageError: it is no sequence of ints of at least 0.
    """
    is_sequence = isinstance(value, Sequence)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not is_sequence or not all(type(choice) is int and choice >= 0 for choice in value):
        raise UsageError(f"{name}: must be a list of ints of at least 0, not {value!r:.80}")


def require_count(name: str, value: Any, least: int) -> None:
    """Refuse what is no number of runs.

    Raises:
        UsageError: it is not an int, or less than `least`.
    """
    if type(value) is not int or value < least:
        raise UsageError(f"{name}: must be an int of at least {least}, not {value!r}")
