"""`db.cells`: the StateCell as a plain object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from inmem.actors.messages import edge
from inmem.actors.messages.cells import CasCell, CellExists, DeleteCell, InitCell, ListCells, ReadCell, SetCell
from inmem.actors.proxies.proxy import Proxy
from inmem.engine.keys import normalize_run_id
from inmem.primitives.cells import CellOperations, require_transition

if TYPE_CHECKING:
    from collections.abc import Callable

    import pykka

    from inmem.actors.client.client import Client
    from inmem.actors.client.client_transaction import BaseTransaction
    from inmem.actors.proxies.kv import RunId
    from inmem.primitives.cells import State

# Inside the classes, the name `list` is the method.
Names: TypeAlias = list[str]

_INITIAL: Final = edge.value("initial")


class StateCell(Proxy):
    """A run's named states, changed by compare-and-swap, each with a version of its own.

    A cell's version is 1 at first and rises by exactly 1 with every change. It goes on from there when the cell is
    deleted and made anew, so a compare-and-swap can never succeed against another cell of the same name. Every call
    is a transaction of its own; reads look at the newest committed state. Errors that any call may raise are named at
    `Database`; an argument that is not acceptable raises InvalidKeyError, InvalidValueError or UsageError.

    Attributes:
        futures: the same operations, each returning a `pykka.Future`; but not `transition` and `transition_or_init`,
            which run a function of the caller's.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.futures = StateCellFutures(client)

    def init(self, run: RunId, name: str, value: object) -> int:
        """Create the cell durably (see `durability`) and return its version.

        Args:
            run: id of the run.
            name: any str of at most 1024 bytes of UTF-8.
            value: None, bool, int, float, str, bytes, list, dict; copied.

        Raises:
            CellExistsError: the cell exists.
            InvalidKeyError, InvalidValueError: an argument is not acceptable; nothing was changed.
        """
        version: int = self._client.ask(InitCell(run, name, value))
        return version

    def read(self, run: RunId, name: str) -> State | None:
        """Return the cell's value, version and time of change, or None if there is no such cell. O(value size)."""
        return self._read(run).read(name)

    def cas(self, run: RunId, name: str, expected: int, value: object) -> int:
        """Replace the value of a cell that is at version `expected`, and return the new version, `expected` + 1.

        Raises:
            CasConflictError: the cell is at another version; `.expected` and `.actual` tell.
            CellNotFoundError: there is no such cell.
            InvalidKeyError, InvalidValueError, UsageError: an argument is not acceptable; nothing was changed.
        """
        version: int = self._client.ask(CasCell(run, name, expected, value))
        return version

    def set(self, run: RunId, name: str, value: object) -> int:
        """Set the cell, creating it if need be, and return its new version. Never fails by conflict."""
        version: int = self._client.ask(SetCell(run, name, value))
        return version

    def delete(self, run: RunId, name: str) -> bool:
        """Delete the cell and return whether it existed. Its versions are not used again."""
        existed: bool = self._client.ask(DeleteCell(run, name))
        return existed

    def exists(self, run: RunId, name: str) -> bool:
        """Return whether there is such a cell. O(1)."""
        return self._read(run).exists(name)

    def list(self, run: RunId, prefix: str | None = None, limit: int | None = None, after: str | None = None) -> Names:
        """Return the names of the cells that start with `prefix`, sorted by their UTF-8 bytes.

        Args:
            run: id of the run.
            prefix: None means all cells.
            limit: at most so many.
            after: only names greater than this one: the last name of one page begins the next.

        Complexity: O(log n) plus O(1) per name returned, and per deleted cell passed.
        """
        return self._read(run).list(prefix, limit, after)

    def transition(self, run: RunId, name: str, fn: Callable[[State], tuple[Any, Any]]) -> Any:
        """Replace the cell's value by what `fn` makes of its state, atomically, and return what else `fn` returns.

        `fn` runs in the calling thread, in a transaction that is tried again after a conflict. So it must be pure:
        it may be called several times, and all calls but the last leave no trace. What has an effect outside the
        store belongs behind this call. For other retries, use ``txn.cells.transition`` in a `transaction`.

        Args:
            run: id of the run.
            name: the cell.
            fn: takes the State, returns (new value, result).

        Raises:
            CellNotFoundError: there is no such cell.
            RetriesExhaustedError: the cell was changed by others during every attempt.
            UsageError: `fn` is no function, or did not return a pair.
            Exception: whatever `fn` raised; the cell is unchanged.
        """
        return self._client.transaction(run, sealed_transition(name, fn))

    def transition_or_init(self, run: RunId, name: str, initial: object, fn: Callable[[State], tuple[Any, Any]]) -> Any:
        """Do `init` with `initial` if there is no such cell, then `transition`, both in one commit.

        Both count: a new cell is at version 2 afterwards. `fn` must be pure, and errors are those of `transition`;
        `initial` must be storable even if the cell exists.
        """
        return self._client.transaction(run, sealed_transition_or_init(name, initial, fn))

    def _read(self, run: RunId) -> CellOperations:
        return CellOperations(self._client.reader(), normalize_run_id(run))


def sealed_transition(name: str, fn: Callable[[State], tuple[Any, Any]]) -> Callable[[BaseTransaction], Any]:
    """Return what carries a `transition` out in any transaction: checked at the call, as a request is."""
    require_transition(fn)
    return lambda txn: txn.cells.transition(name, fn)


def sealed_transition_or_init(
    name: str, initial: object, fn: Callable[[State], tuple[Any, Any]]
) -> Callable[[BaseTransaction], Any]:
    """Return what carries a `transition_or_init` out: `initial` is encoded now, whatever is done to it meanwhile."""
    require_transition(fn)
    encoded = _INITIAL(initial)
    return lambda txn: txn.cells.transition_or_init(name, encoded, fn)


class StateCellFutures(Proxy):
    """The same operations, each returning a `pykka.Future` at once. What one thread sends is done in that order.

    All but `transition` and `transition_or_init`: their functions run in the calling thread, not in an actor.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._send = client.send

    def init(self, run: RunId, name: str, value: object) -> pykka.Future[int]:
        """See `StateCell.init`."""
        return self._send(InitCell(run, name, value))

    def read(self, run: RunId, name: str) -> pykka.Future[State | None]:
        """See `StateCell.read`."""
        return self._send(ReadCell(run, name))

    def cas(self, run: RunId, name: str, expected: int, value: object) -> pykka.Future[int]:
        """See `StateCell.cas`."""
        return self._send(CasCell(run, name, expected, value))

    def set(self, run: RunId, name: str, value: object) -> pykka.Future[int]:
        """See `StateCell.set`."""
        return self._send(SetCell(run, name, value))

    def delete(self, run: RunId, name: str) -> pykka.Future[bool]:
        """See `StateCell.delete`."""
        return self._send(DeleteCell(run, name))

    def exists(self, run: RunId, name: str) -> pykka.Future[bool]:
        """See `StateCell.exists`."""
        return self._send(CellExists(run, name))

    def list(
        self, run: RunId, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> pykka.Future[Names]:
        """See `StateCell.list`."""
        return self._send(ListCells(run, prefix, limit, after))
