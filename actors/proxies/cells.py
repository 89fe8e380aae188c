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

# Inside the classes below, `list` is a method.
Names: TypeAlias = list[str]

_INITIAL: Final = edge.value("initial")


class StateCell(Proxy):
    """A run's named states, changed by compare-and-swap, each with its own version.

    A cell's version starts at 1 and rises by exactly 1 with every change. A cell that is deleted and created again
    continues the count, so a stale compare-and-swap never matches a new cell of the same name. Every call is its own
    transaction; reads use the newest committed state. See `Database` for the errors that any call may raise; an
    invalid argument raises InvalidKeyError, InvalidValueError or UsageError.

    Attributes:
        futures: the same operations, each returning a `pykka.Future`, except `transition` and `transition_or_init`,
            which call a function in the caller's thread.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.futures = StateCellFutures(client)

    def init(self, run: RunId, name: str, value: object) -> int:
        """Create the cell durably (see `durability`) and return its version.

        Args:
            run: id of the run.
            name: any str of at most 1024 bytes in UTF-8.
            value: None, bool, int, float, str, bytes, list or dict; stored as a copy.

        Raises:
            CellExistsError: the cell exists.
            InvalidKeyError, InvalidValueError: an argument is invalid; nothing was changed.
        """
        version: int = self._client.ask(InitCell(run, name, value))
        return version

    def read(self, run: RunId, name: str) -> State | None:
        """Return the cell's value, version and time of last change, or None if it does not exist. O(value size)."""
        return self._read(run).read(name)

    def cas(self, run: RunId, name: str, expected: int, value: object) -> int:
        """Replace the cell's value if its version is `expected`; return the new version, `expected` + 1.

        Raises:
            CasConflictError: the cell has another version; see `.expected` and `.actual`.
            CellNotFoundError: the cell does not exist.
            InvalidKeyError, InvalidValueError, UsageError: an argument is invalid; nothing was changed.
        """
        version: int = self._client.ask(CasCell(run, name, expected, value))
        return version

    def set(self, run: RunId, name: str, value: object) -> int:
        """Set the cell, creating it if it does not exist, and return its new version. Never fails with a conflict."""
        version: int = self._client.ask(SetCell(run, name, value))
        return version

    def delete(self, run: RunId, name: str) -> bool:
        """Delete the cell and return whether it existed. Its versions are never reused."""
        existed: bool = self._client.ask(DeleteCell(run, name))
        return existed

    def exists(self, run: RunId, name: str) -> bool:
        """Return whether the cell exists. O(1)."""
        return self._read(run).exists(name)

    def list(self, run: RunId, prefix: str | None = None, limit: int | None = None, after: str | None = None) -> Names:
        """Return the names of the cells that start with `prefix`, sorted by their UTF-8 bytes.

        Args:
            run: id of the run.
            prefix: None means all cells.
            limit: maximum number of names; None means all.
            after: only names greater than this one; pass the last name of a page to get the next page.

        Complexity: O(log n) plus O(1) per name returned and per deleted cell skipped.
        """
        return self._read(run).list(prefix, limit, after)

    def transition(self, run: RunId, name: str, fn: Callable[[State], tuple[Any, Any]]) -> Any:
        """Atomically replace the cell's value with the one `fn` computes from its state; return the result of `fn`.

        `fn` runs in the calling thread, in a transaction that is retried after a conflict. It must be pure: it may be
        called several times, and only the last call takes effect. Do anything that affects the outside world after
        `transition` returns. To choose the retry policy, use ``txn.cells.transition`` in a `transaction`.

        Args:
            run: id of the run.
            name: name of the cell.
            fn: takes the State, returns (new value, result).

        Raises:
            CellNotFoundError: the cell does not exist.
            RetriesExhaustedError: others changed the cell during every attempt.
            UsageError: `fn` is not callable, or did not return a pair.
            Exception: whatever `fn` raised; the cell is unchanged.
        """
        return self._client.transaction(run, sealed_transition(name, fn))

    def transition_or_init(self, run: RunId, name: str, initial: object, fn: Callable[[State], tuple[Any, Any]]) -> Any:
        """Call `init` with `initial` if the cell does not exist, then `transition`, both in one commit.

        Both steps raise the version: a new cell ends at version 2. `fn` must be pure. Errors are as for `transition`;
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
    """The same operations, each returning a `pykka.Future` at once. Requests from one thread are processed in order.

    `transition` and `transition_or_init` are missing, because their function runs in the calling thread, not an actor.
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
