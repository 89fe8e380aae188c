"""StateCell: a run's named states, changed by compare-and-swap, each with its own version.

A cell is stored as the record (version, time of the last change, encoded value or None) under its name. A deleted cell
keeps its record, with None as the value, so that a cell created again continues the version count and a stale
compare-and-swap never matches a new cell of the same name. To callers, a deleted cell does not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from inmem.engine.codec import decode_value, encode_value
from inmem.engine.commits.conflicts import CasConflict
from inmem.engine.errors import CasConflictError, CellExistsError, CellNotFoundError, UsageError
from inmem.engine.keys import Key, Tag, user_key
from inmem.engine.noncopyable import NonCopyable
from inmem.engine.packing import pack
from inmem.engine.shown import shown
from inmem.primitives.arguments import checked_version, not_callable, refuse_coroutine
from inmem.primitives.cell_record import CellRecord, unpack_cell
from inmem.primitives.paging import at_most, scan_names
from inmem.primitives.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.engine.commits.transaction import Transaction

_STATE: Final = int(Tag.STATE)

# Inside the class below, `list` is a method.
Names: TypeAlias = list[str]


class State(Result, frozen=True):
    """The value of a cell, with its version.

    Attributes:
        value: a fresh copy of the value.
        version: 1 for a cell's first value, one higher with every change; never reused under the same name.
        updated_at: time of the last change, in microseconds since the epoch; never decreases.
    """

    value: Any
    version: int
    updated_at: int


class CellOperations(NonCopyable):
    """The StateCells of one run, inside one transaction.

    Every operation reads the cell, so it conflicts with a concurrent commit to the same cell.
    """

    __slots__ = ("_bytes_max", "_now_us", "_run", "_view")

    def __init__(self, txn: Transaction, run: str) -> None:
        self._run = run
        self._view = txn.view(run, _STATE)
        self._now_us = txn.now_us
        self._bytes_max = txn.limits.value_bytes_max

    def __repr__(self) -> str:
        return f"<CellOperations of run {self._run!r}>"

    def init(self, name: str, value: object) -> int:
        """Create the cell and return its version: 1, or one more than the last version of a deleted cell of this name.

        Raises:
            CellExistsError: the cell exists.
        """
        key = _key(name)
        version, updated_at, current = self._load(key)
        if current is not None:
            raise CellExistsError(name, self._run)
        return self._store(key, version, updated_at, encode_value(value, "value", self._bytes_max))

    def read(self, name: str) -> State | None:
        """Return the cell's state, or None if it does not exist. O(value size)."""
        data = self._view.get(_key(name))
        return None if data is None else state_of(data)

    def cas(self, name: str, expected: int, value: object) -> int:
        """Replace the cell's value if its version is `expected`; return the new version, `expected` + 1.

        Raises:
            CasConflictError: in this transaction's view the cell has another version, `actual`.
            CellNotFoundError: the cell does not exist.
            UsageError: `expected` is not a possible version.
        """
        checked_version(expected, "expected")
        key = _key(name)
        data = encode_value(value, "value", self._bytes_max)
        version, updated_at, current = self._load(key)
        if current is None:
            raise CellNotFoundError(name, self._run)
        if version != expected:
            conflict = CasConflict(Key.state(self._run, name), expected, version)
            raise CasConflictError(name, expected, version, (conflict,), self._run)
        return self._store(key, version, updated_at, data)

    def set(self, name: str, value: object) -> int:
        """Set the cell, creating it if it does not exist, and return its new version."""
        key = _key(name)
        data = encode_value(value, "value", self._bytes_max)
        version, updated_at, _ = self._load(key)
        return self._store(key, version, updated_at, data)

    def delete(self, name: str) -> bool:
        """Delete the cell and return whether it existed. Its versions are never reused."""
        key = _key(name)
        version, updated_at, current = self._load(key)
        if current is None:
            return False
        self._view.put(key, pack(CellRecord(version, max(self._now_us, updated_at), None)))
        return True

    def exists(self, name: str) -> bool:
        """Return whether the cell exists. O(1)."""
        return self._load(_key(name))[2] is not None

    def list(self, prefix: str | None = None, limit: int | None = None, after: str | None = None) -> Names:
        """Return the names of the cells that start with `prefix`, sorted by their UTF-8 bytes.

        Args:
            prefix: None means all cells.
            limit: maximum number of names; None means all.
            after: only names greater than this one; pass the last name of a page to get the next page.

        Complexity: O(log n) plus O(1) per name returned and per deleted cell skipped.
        """
        entries = scan_names(self._view, prefix, after)
        return at_most((name for name, data in entries if unpack_cell(data).value is not None), limit)

    def transition(self, name: str, fn: Callable[[State], tuple[Any, Any]]) -> Any:
        """Replace the cell's value with the one `fn` computes from its state; return the result of `fn`.

        `fn` must be pure: it is called once in every attempt of the surrounding transaction, and only the last attempt
        takes effect. Do anything that affects the outside world after the commit.

        Args:
            name: name of the cell.
            fn: takes the State, returns (new value, result). If it raises, the cell stays unchanged.

        Raises:
            CellNotFoundError: the cell does not exist.
            UsageError: `fn` is not callable, or did not return a pair.
        """
        require_transition(fn)
        key = _key(name)
        version, updated_at, current = self._load(key)
        if current is None:
            raise CellNotFoundError(name, self._run)
        return self._transition(key, State(decode_value(current), version, updated_at), fn)

    def transition_or_init(self, name: str, initial: object, fn: Callable[[State], tuple[Any, Any]]) -> Any:
        """Call `init` with `initial` if the cell does not exist, then `transition`; return the result of `fn`.

        Both steps raise the version: a new cell ends at version 2. If `fn` raises, no cell is created. `initial` must
        be storable even if the cell exists.
        """
        require_transition(fn)
        key = _key(name)
        data = encode_value(initial, "initial", self._bytes_max)
        version, updated_at, current = self._load(key)
        if current is None:
            current = data
            version += 1
            updated_at = max(self._now_us, updated_at)
        return self._transition(key, State(decode_value(current), version, updated_at), fn)

    def _transition(self, key: bytes, state: State, fn: Callable[[State], tuple[Any, Any]]) -> Any:
        outcome: Any = cast("Any", fn(state))
        pair: tuple[Any, ...] = outcome
        if type(outcome) is not tuple or len(pair) != 2:
            refuse_coroutine(pair)
            raise UsageError(f"transition: fn must return (new_value, result), not {shown(pair)}")
        new_value, result = pair
        self._store(key, state.version, state.updated_at, encode_value(new_value, "new_value", self._bytes_max))
        return result

    def _load(self, key: bytes) -> tuple[int, int, bytes | None]:
        """Return (version, updated_at, value). If there is no such cell, value is None and version may be 0."""
        data = self._view.get(key)
        if data is None:
            return 0, 0, None
        cell = unpack_cell(data)
        return cell.version, cell.updated_at, cell.value

    def _store(self, key: bytes, version: int, updated_at: int, value: bytes) -> int:
        self._view.put(key, pack(CellRecord(version + 1, max(self._now_us, updated_at), value)))
        return version + 1


def require_transition(fn: object) -> None:
    """Raise UsageError unless `fn` can be called."""
    if not callable(fn):
        raise not_callable("fn", "a function that takes the cell's State", fn)


def state_of(data: bytes) -> State | None:
    """Return the state whose stored form is `data`, or None for a deleted cell."""
    cell = unpack_cell(data)
    return None if cell.value is None else State(decode_value(cell.value), cell.version, cell.updated_at)


def _key(name: str) -> bytes:
    return user_key(name, where="cell name")
