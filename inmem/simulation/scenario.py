"""What a scenario must be, so that a run without findings has tested something."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from inmem.engine.errors import UsageError

SECONDS_MAX = 1e9
"""Thirty years. A longer sleep was surely given in another unit than seconds."""


NOT_DETERMINISTIC = "The scenario is not deterministic: run once more with the same choices it took another course"

MUST_NOT_DEPEND = (
    "It must not depend on the clock, on random numbers but those of random.Random(sim.seed), on fresh ids "
    "(inmem.new_run_id, uuid), on the order of a set, or on what an earlier run has left behind, such as a global "
    "variable or a thread's local data."
)


class ScenarioError(UsageError):
    """The scenario, not the store, is at fault: it cannot run as it is written."""

    __module__ = "inmem.simulation"  # where it is imported from


def require_ran(what: str, returned: Any) -> None:
    """Refuse the result of a function whose code did not run when it was called.

    Args:
        what: the function, for the message.
        returned: what the function returned.

    Raises:
        ScenarioError: `returned` is a coroutine or a generator, of which nothing has run yet.
    """
    if inspect.iscoroutine(returned):
        # Otherwise Python also warns about it, wherever it is collected.
        returned.close()
    elif not (inspect.isgenerator(returned) or inspect.isasyncgen(returned)):
        return
    kind = type(returned).__name__.replace("_", " ")
    raise ScenarioError(
        f"{what} has returned a {kind}, of which nothing has run: a simulation runs plain functions, without async "
        "and yield"
    )


def require_nothing(returned: Any) -> None:
    """Refuse any result of a scenario: nothing looks at it, so what it should report would be lost.

    Raises:
        ScenarioError: `returned` is not None.
    """
    if returned is None:
        return
    if inspect.isroutine(returned):
        raise ScenarioError(
            "the scenario has returned a function, of which nothing has run: what was given makes scenarios; call it, "
            "and give what it returns"
        )
    raise ScenarioError(
        f"the scenario has returned {returned!r:.80}: a scenario returns None, and asserts what must hold"
    )


def require_function(name: str, value: Any) -> None:
    """Refuse a value that cannot be called.

    Raises:
        ScenarioError: `value` is not callable.
    """
    if not callable(value):
        raise ScenarioError(f"{name}: must be a function, not {value!r:.80}")


def require_scenario(value: Any) -> None:
    """Refuse a value that cannot be called with a `Simulation`.

    Raises:
        ScenarioError: `value` is not callable with one argument.
    """
    require_function("scenario", value)
    try:
        signature = inspect.signature(value)
    except (ValueError, TypeError):
        # Python does not know the signature, as for some functions written in C.
        return
    try:
        signature.bind(None)
    except TypeError:
        name = getattr(value, "__qualname__", repr(value))
        raise ScenarioError(
            f"a scenario takes one argument, the Simulation: {name:.80} takes {signature!s:.80}"
        ) from None


def require_int(name: str, value: Any) -> None:
    """Refuse a value that is not an int.

    Raises:
        UsageError: `value` is not an int.
    """
    if type(value) is not int:
        raise UsageError(f"{name}: must be an int, not {value!r:.80}")


def require_choices(name: str, value: Sequence[int]) -> None:
    """Refuse choices that no run can have made.

    Raises:
        UsageError: `value` is not a sequence of ints of at least 0.
    """
    is_sequence = isinstance(value, Sequence)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not is_sequence or not all(type(choice) is int and choice >= 0 for choice in value):
        raise UsageError(f"{name}: must be a list of ints of at least 0, not {value!r:.80}")


def require_count(name: str, value: Any, least: int) -> None:
    """Refuse a value that is not a count, such as a number of runs.

    Raises:
        UsageError: `value` is not an int, or is less than `least`.
    """
    if type(value) is not int or value < least:
        raise UsageError(f"{name}: must be an int of at least {least}, not {value!r}")


def require_text(name: str, value: Any) -> None:
    """Refuse a value that is not text for a story.

    Raises:
        ScenarioError: `value` is not a str.
    """
    if not isinstance(value, str):
        raise ScenarioError(f"{name}: must be a str, not {value!r:.80}")


def require_bool(name: str, value: Any) -> None:
    """Refuse a value that is not a bool.

    Raises:
        ScenarioError: `value` is not a bool.
    """
    if type(value) is not bool:
        raise ScenarioError(f"{name}: must be a bool, not {value!r:.80}")


def require_seconds(name: str, value: Any) -> None:
    """Refuse a value that is not a possible number of seconds.

    Raises:
        ScenarioError: `value` is not a number from 0 to `SECONDS_MAX`.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= SECONDS_MAX:
        raise ScenarioError(f"{name}: must be a number from 0 to {SECONDS_MAX:.0e}, not {value!r:.80}")
