"""Run an adapter's operations, each in its own transaction or all in one transaction that the caller commits."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

import inmem
from inmem.handle import plain_handle

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Self

    from inmem.engine.commits.transaction import IsolationName

T = TypeVar("T")

Registration: TypeAlias = Literal["created", "tagged"]
"""What an adapter has done to a run: registered it, or given its tag to one that was there."""

PATIENT: Final = inmem.RetryPolicy(max_retries=10_000, base_delay=0.0005, max_delay=0.02)
"""For operations that frameworks expect to succeed with any number of callers. Of several conflicting callers one
always commits, so only a bug reaches this bound."""


class Work:
    """Runs functions that take a transaction.

    Args:
        db: the database on which each call gets its own transaction.
        txn: if given, every call runs in this transaction instead, one at a time, and its owner commits.

    Raises:
        UsageError: `db` is not an `inmem.Database`.
    """

    def __init__(self, db: inmem.Database, txn: inmem.Transaction | None = None) -> None:
        self._db = plain_handle(db, "db")
        self._txn = txn
        self._lock = RLock()

    def bound(self, txn: inmem.Transaction) -> Work:
        """Return a `Work` on the same database that runs every call in `txn`.

        Raises:
            UsageError: `txn` is not an `inmem.Transaction`.
        """
        if not isinstance(txn, inmem.Transaction):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise inmem.UsageError(f"txn: must be an inmem.Transaction, not {type(txn).__name__}")
        return Work(self._db, txn)

    def do(self, run: str, fn: Callable[[inmem.Transaction], T], *, isolation: IsolationName = "snapshot") -> T:
        """Run `fn(txn)`, commit unless the transaction is the caller's, and return the result of `fn`."""
        if self._txn is None:
            return self._db.transaction(run, fn, isolation=isolation, retry=PATIENT)
        with self._lock:
            return fn(self._txn)

    def do_alone(self, run: str, fn: Callable[[inmem.Transaction], T]) -> T:
        """Run `fn(txn)` in its own serializable transaction and return the result. See `require_own`."""
        self.require_own()
        return self.do(run, fn, isolation="serializable")

    def require_own(self) -> None:
        """Refuse to run in the caller's transaction, as its scans may not be validated.

        Raises:
            UsageError: the transaction is the caller's.
        """
        if self._txn is not None:
            raise inmem.UsageError("bound: what removes data needs a transaction of its own; use the unbound object")

    @contextmanager
    def reading(self, run: str) -> Generator[inmem.Transaction]:
        """Provide a transaction for reading from one snapshot while the context is open."""
        if self._txn is not None:
            yield self._txn
        else:
            with self._db.begin(run) as txn:
                yield txn


class Bindable:
    """An adapter that runs all its operations through its `Work`."""

    _work: Work

    def bound(self, txn: inmem.Transaction) -> Self:
        """Return a copy for use inside `txn`: it sees its own writes there, other readers do not.

        Nothing is stored before the owner of `txn` commits it, and nothing is retried. Use the copy from one thread at
        a time. The methods of `InmemSaver` that remove checkpoints need their own transaction, so a bound saver refuses
        them.

        Raises:
            UsageError: `txn` is not an `inmem.Transaction`.
        """
        twin = copy.copy(self)
        twin._work = self._work.bound(txn)  # noqa: SLF001  (a copy of this very object)
        return twin


def register(txn: inmem.Transaction, run: str, tag: str) -> Registration | None:
    """Ensure that the run is in the RunIndex and has the tag, even if it was registered without it. O(tags).

    Returns:
        What was necessary for that, or None.
    """
    known = txn.runs.get_run(run)
    if known is None:
        txn.runs.create_run(run, tags=[tag])
        return "created"
    if tag not in known.tags:
        txn.runs.add_tags(run, [tag])
        return "tagged"
    return None
