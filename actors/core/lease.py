"""A running transaction is running for as long as somebody holds its lease."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from inmem.actors.dispatch import interrupts
from inmem.actors.messages.transactions import End
from inmem.engine.errors import ForkedProcessError
from inmem.engine.noncopyable import NonCopyable

if TYPE_CHECKING:
    from inmem.actors.client.courier import Sender


class SettledLease(NonCopyable):
    """A lease of whose end the coordinator knows. Nothing runs when it is disposed of, as nearly every one is.

    That matters in the main thread: what a program's own signal handler raises while Python disposes of an object,
    such as the SystemExit of one that handles SIGTERM, is dropped.
    """

    __slots__ = ("_coordinator", "_transaction_id")

    def __init__(self, coordinator: Sender, transaction_id: int) -> None:
        self._coordinator: Sender | None = coordinator
        self._transaction_id = transaction_id

    def through(self, coordinator: Sender) -> Lease:
        """Return the lease for a client that must not send to the coordinator itself; this one is void."""
        self.settle()
        return Lease(coordinator, self._transaction_id)

    def end(self) -> None:
        """The transaction has ended without a commit."""
        if self._coordinator is not None:
            # In a forked child it is the parent's transaction, and goes on there: there is nobody to tell.
            with contextlib.suppress(ForkedProcessError):
                self._coordinator.send(End(self._transaction_id), None)
        # Not before: cut short here, the coordinator hears of it again, which changes nothing.
        self.settle()

    def settle(self) -> None:
        """The coordinator knows of the end: it has been told, or has decided the commit."""
        self._coordinator = None
        # Of the same layout, and without a finalizer.
        self.__class__ = SettledLease  # pyright: ignore[reportAttributeAccessIssue]


class Lease(SettledLease):
    """Tells the coordinator that a transaction has ended: at the latest when nobody holds the lease any more.

    So a client that is interrupted or forgetful does not leave a transaction behind that counts as running for ever.
    """

    __slots__ = ()

    @interrupts.uninterrupted
    def __del__(self) -> None:
        # Python would swallow a KeyboardInterrupt here. One that was not made to the end has no field: its thread was
        # struck, or had no room left.
        if getattr(self, "_coordinator", None) is not None:
            self.end()
