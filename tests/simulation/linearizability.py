"""A linearizability check: is there an order of operations, consistent with real time, that explains all results?

Source: Wing and Gong, "Testing and Verifying Concurrent Objects", 1993, with Lowe's memoization of (operations done,
state) pairs, which keeps small histories cheap. Exponential in the number of overlapping operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inmem.simulation.promises import BrokenPromise

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence


@dataclass(frozen=True, slots=True)
class Operation:
    """One call on one object.

    Attributes:
        name: the name of the call, for messages.
        apply: takes the object's state; returns the state afterwards and the result.
        result: the result that the client got.
        called_at: a point in time before the call.
        returned_at: a point in time after the answer; None if there was none, in which case `result` is ignored.
    """

    name: str
    apply: Callable[[Any], tuple[Any, Any]]
    result: Hashable
    called_at: int
    returned_at: int | None


class CellModel:
    """The operations of a cell as pure functions of its state: (version, value, whether it exists).

    A deleted cell keeps its version counter.
    """

    INITIAL = (0, None, False)

    @staticmethod
    def read(state: Any) -> tuple[Any, Any]:
        """Return (version, value), or None."""
        version, value, live = state
        return state, (version, value) if live else None

    @staticmethod
    def set(value: Hashable) -> Callable[[Any], tuple[Any, Any]]:
        """Return the operation that sets a value: its result is the new version."""
        return lambda state: ((state[0] + 1, value, True), state[0] + 1)

    @staticmethod
    def cas(expected: int, value: Hashable) -> Callable[[Any], tuple[Any, Any]]:
        """Return the compare-and-swap: its result is the new version, or "refused"."""

        def apply(state: Any) -> tuple[Any, Any]:
            version, _, live = state
            if not live or version != expected:
                return state, "refused"
            return (version + 1, value, True), version + 1

        return apply

    @staticmethod
    def delete(state: Any) -> tuple[Any, Any]:
        """Return whether the cell existed."""
        version, value, live = state
        return ((version, None, False), True) if live else ((version, value, False), False)


def check_linearizable(operations: Sequence[Operation], initial: Hashable) -> None:
    """Check that the results are those of one object that executed the operations one after the other.

    Args:
        operations: all operations of one object.
        initial: the state of the object before them.

    Raises:
        BrokenPromise: no order explains the results.
    """
    everything = frozenset(range(len(operations)))
    must = frozenset(index for index, operation in enumerate(operations) if operation.returned_at is not None)
    seen: set[tuple[frozenset[int], Hashable]] = set()
    stack: list[tuple[frozenset[int], Hashable]] = [(everything, initial)]
    while stack:
        left, state = stack.pop()
        if not left & must:
            return
        if (left, state) in seen:
            continue
        seen.add((left, state))
        # An operation called only after another had returned cannot precede it.
        deadline = min(operations[index].returned_at or 0 for index in left & must)
        for index in left:
            operation = operations[index]
            if operation.called_at > deadline:
                continue
            after, result = operation.apply(state)
            if operation.returned_at is None or result == operation.result:
                stack.append((left - {index}, after))
    shown = "\n".join(
        f"  {operation.called_at:5d} to {operation.returned_at or '…'}: {operation.name} -> {operation.result!r}"
        for operation in operations
    )
    raise BrokenPromise(f"not linearizable:\n{shown}")
