"""A transaction counts as running while somebody holds its lease.

The coordinator's registry keeps a weak reference to each lease. When the lease dies, or when its holder says that the
transaction has ended, that is noted in a queue, which the registry empties before it answers anything. Noting it takes
no message and no Python code: a lease may die in any thread, at any moment, in the middle of a signal handler even.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from inmem.engine.noncopyable import NonCopyable

if TYPE_CHECKING:
    from collections import deque
    from typing import TypeAlias


class Lease(NonCopyable):
    """What keeps a transaction running: a client that forgets it, or is interrupted, has ended the transaction.

    Args:
        transaction_id: whose lease it is.
        ended: where its end is noted.
    """

    __slots__ = ("__weakref__", "_ended", "_transaction_id")

    def __init__(self, transaction_id: int, ended: Ended) -> None:
        self._transaction_id = transaction_id
        self._ended = ended

    def end(self) -> None:
        """Note that the transaction has ended without a commit. From any thread, and more than once. O(1)."""
        self._ended.append(self._transaction_id)


class LeaseRef(ref[Lease]):
    """A weak reference to a lease that knows which transaction it is, so that the callback need not."""

    __slots__ = ("transaction_id",)

    transaction_id: int


if TYPE_CHECKING:
    Ended: TypeAlias = deque[int | LeaseRef]
