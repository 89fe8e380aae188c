"""Is there an order of operations, in agreement with real time, in which a single cell would have answered like this?

Source: Wing and Gong, "Testing and Verifying Concurrent Objects", 1993, with Lowe's memory of (operations done, state)
pairs, which keeps small histories cheap. Exponential in the number of operations that overlap.
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
        name: of the call, for messages.
        apply: takes the object's state; returns the state afterwards and the result.
        result: what the client was answered.
        called_at: place in time before the call.
        returned_at: place in time after the answer; None if there was none, and then `result` does not matter.
    """

    name: str
    apply: Callable[[Any], tuple[Any, Any]]
    result: Hashable
    called_at: int
    returned_at: int | None


class CellModel:
    """What a cell does, as pure functions of its state: (version, value, whether it exists).

    Versions go on counting when the cell is deleted.
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
        """Return whether there was anything to delete."""
        version, value, live = state
        return ((version, None, False), True) if live else ((version, value, False), False)


def check_linearizable(operations: Sequence[Operation], initial: Hashable) -> None:
    """Check that the answers are those of one object that carried the operations out one after the other.

    Args:
        operations: of one object, all of them.
        initial: its state before.

    Raises:
        BrokenPromise: they are not.
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
        # Whoever was called only after another had returned cannot go before it.
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
