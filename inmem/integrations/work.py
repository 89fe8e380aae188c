"""Where an adapter's operations run: each in a transaction of its own, or all in one that the caller commits."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Final, TypeVar

import inmem
from inmem.handle import plain_handle

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Self

    from inmem.engine.commits.transaction import IsolationName

T = TypeVar("T")

PATIENT: Final = inmem.RetryPolicy(max_retries=10_000, base_delay=0.0005, max_delay=0.02)
"""For operations that frameworks expect to succeed however many callers there are. In every round of conflicts one of
them commits, so this bound is met only by something that is broken."""


class Work:
    """A way to run functions of a transaction.

    Args:
        db: where each call gets a transaction of its own.
        txn: if given, every call runs in this transaction instead, one at a time, and its owner commits.

    Raises:
        UsageError: `db` is not an `inmem.Database`.
    """

    def __init__(self, db: inmem.Database, txn: inmem.Transaction | None = None) -> None:
        self._db = plain_handle(db, "db")
        self._txn = txn
        self._lock = RLock()

    def bound(self, txn: inmem.Transaction) -> Work:
        """Return the same for calls that belong to `txn`."""
        return Work(self._db, txn)

    def do(self, run: str, fn: Callable[[inmem.Transaction], T], *, isolation: IsolationName = "snapshot") -> T:
        """Run `fn(txn)`, commit unless the transaction is the caller's, and return what `fn` returned."""
        if self._txn is None:
            return self._db.transaction(run, fn, isolation=isolation, retry=PATIENT)
        with self._lock:
            return fn(self._txn)

    def do_alone(self, run: str, fn: Callable[[inmem.Transaction], T]) -> T:
        """Run `fn(txn)` in a serializable transaction of its own and return what it returned. See `require_own`."""
        self.require_own()
        return self.do(run, fn, isolation="serializable")

    def require_own(self) -> None:
        """Refuse to go on where the transaction is the caller's: nobody knows whether its scans are validated.

        Raises:
            UsageError: it is.
        """
        if self._txn is not None:
            raise inmem.UsageError("bound: what removes data needs a transaction of its own; use the unbound object")

    @contextmanager
    def reading(self, run: str) -> Generator[inmem.Transaction]:
        """Give a transaction to read one snapshot from, for as long as the context lasts."""
        if self._txn is not None:
            yield self._txn
        else:
            with self._db.begin(run) as txn:
                yield txn


class Bindable:
    """An adapter that does everything through its `Work`."""

    _work: Work

    def bound(self, txn: inmem.Transaction) -> Self:
        """Return the same object for use inside `txn`: it sees what it has written there, nobody else does.

        Nothing is stored before `txn` is committed, which remains its owner's business, and nothing is retried. Use it
        from one thread at a time. Of an `InmemSaver`, what removes checkpoints needs a transaction of its own, so it
        refuses.
        """
        twin = copy.copy(self)
        twin._work = self._work.bound(txn)  # noqa: SLF001  (a copy of this very object)
        return twin


def register(txn: inmem.Transaction, run: str, tag: str) -> None:
    """See to it that the run is in the RunIndex and has the tag, whoever registers it first. O(tags)."""
    known = txn.runs.get_run(run)
    if known is None:
        txn.runs.create_run(run, tags=[tag])
    elif tag not in known.tags:
        txn.runs.add_tags(run, [tag])
