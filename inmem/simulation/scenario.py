"""What a scenario must be, so that a run that found nothing has tried something."""

from __future__ import annotations

import inspect
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


def require_count(name: str, value: Any, least: int) -> None:
    """Refuse what is no number of runs.

    Raises:
        UsageError: it is not an int, or less than `least`.
    """
    if type(value) is not int or value < least:
        raise UsageError(f"{name}: must be an int of at least {least}, not {value!r}")
