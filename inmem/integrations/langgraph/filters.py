"""Search filters with the meaning they have in LangGraph's InMemoryStore.

The differences: an invalid filter is refused wherever its invalid part is and whatever is stored; comparing the order
of values that have none is false, where InMemoryStore raises an error; and two strings that are not both numbers are
compared as strings, where InMemoryStore raises an error as well.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final, cast

import inmem

if TYPE_CHECKING:
    from collections.abc import Callable

_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


_OPERATORS: Final = ("$eq", "$ne", *_ORDER)


def check_filter(wanted: object) -> None:
    """Raise UsageError unless `wanted` is a valid filter, whatever is stored. O(size of the filter)."""
    if wanted is None:
        return
    if not isinstance(wanted, dict):
        raise inmem.UsageError(f"filter: must be a dict or None, not {type(wanted).__name__}")
    _check_part(cast("object", wanted))


def passes(value: Any, wanted: Any) -> bool:
    """Return whether `value` passes the filter `wanted`.

    Args:
        value: the stored value, or None if there is none.
        wanted: a part of a checked filter. A plain value must be equal. The items of a list must pass one by one. If
            the keys of a dict start with `$`, all its operators must hold. The entries of any other dict must pass;
            `value` may have further entries.
    """
    if isinstance(wanted, dict):
        conditions = cast("dict[str, Any]", wanted)
        if _has_operators(conditions):
            return all(_holds(value, name, operand) for name, operand in conditions.items())
        return isinstance(value, dict) and all(
            passes(cast("dict[str, Any]", value).get(name), part) for name, part in conditions.items()
        )
    if isinstance(wanted, list | tuple):
        parts = list(cast("list[Any]", wanted))
        items = cast("list[Any]", value)
        return isinstance(value, list) and len(items) == len(parts) and all(map(passes, items, parts))
    return bool(value == wanted)


def _check_part(wanted: object) -> None:
    if isinstance(wanted, dict):
        conditions = cast("dict[Any, object]", wanted)
        for name in conditions:
            if not isinstance(name, str):
                raise inmem.UsageError(f"filter: names must be str, not {name!r}")
        if _has_operators(conditions):
            for name in conditions:
                if name not in _OPERATORS:
                    raise inmem.UsageError(f"filter: there is no operator {name!r}")
        for part in conditions.values():
            _check_part(part)
    elif isinstance(wanted, list | tuple):
        for part in cast("list[object]", wanted):
            _check_part(part)


def _has_operators(conditions: dict[str, Any]) -> bool:
    return any(name.startswith("$") for name in conditions)


def _holds(value: Any, name: str, operand: Any) -> bool:
    match name:
        case "$eq":
            return bool(value == _as_stored(operand))
        case "$ne":
            return bool(value != _as_stored(operand))
        case _:
            pair = _comparable(value, operand)
            return pair is not None and _ORDER[name](*pair)


def _as_stored(operand: Any) -> Any:
    """Return the operand with tuples as lists, since stored values contain no tuples."""
    if isinstance(operand, dict):
        return {name: _as_stored(part) for name, part in cast("dict[str, Any]", operand).items()}
    return [_as_stored(part) for part in cast("list[Any]", operand)] if isinstance(operand, list | tuple) else operand


def _comparable(value: Any, operand: Any) -> tuple[Any, Any] | None:
    """Return both as numbers if they are numbers or parse as such, else both if they are strings, else None."""
    numbers = _number(value), _number(operand)
    if None not in numbers:
        return numbers
    return (value, operand) if isinstance(value, str) and isinstance(operand, str) else None


def _number(value: Any) -> int | float | None:
    if isinstance(value, int | float):
        return value
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None
