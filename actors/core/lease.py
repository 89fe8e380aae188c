"""A transaction counts as running for as long as its lease is held.

The coordinator's registry keeps a weak reference to each lease. When a lease is freed, or its holder ends it, that is
noted in a queue, which the registry empties before it answers a question. The note needs no message and runs no Python
code, so a lease may be freed in any thread at any moment, even inside a signal handler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from msgspec import Struct

from inmem.engine.noncopyable import NonCopyable

if TYPE_CHECKING:
    from collections import deque
    from typing import TypeAlias


class Lease(NonCopyable, Struct, weakref=True, eq=False):
    """Keeps a transaction running. A client that is interrupted, or forgets the transaction, thereby ends it.

    Args:
        transaction_id: the transaction.
        ended: the queue in which its end is noted.
    """

    _transaction_id: int
    _ended: Ended

    def end(self) -> None:
        """Note that the transaction has ended without a `Commit` message. Any thread may do so, repeatedly. O(1)."""
        self._ended.append(self._transaction_id)


class LeaseRef(ref[Lease]):
    """A weak reference that knows the transaction of its lease. Its callback is the `append` of the queue."""

    __slots__ = ("transaction_id",)

    transaction_id: int


if TYPE_CHECKING:
    Ended: TypeAlias = deque[int | LeaseRef]
