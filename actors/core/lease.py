"""A transaction counts as running for as long as its lease is held."""

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
    """A lease whose end the coordinator knows. It has no finalizer; nearly every lease is settled before it is freed.

    That matters in the main thread: Python drops what a program's own signal handler raises while a finalizer runs,
    such as the SystemExit of a SIGTERM handler.
    """

    __slots__ = ("_coordinator", "_transaction_id")

    def __init__(self, coordinator: Sender, transaction_id: int) -> None:
        self._coordinator: Sender | None = coordinator
        self._transaction_id = transaction_id

    def through(self, coordinator: Sender) -> Lease:
        """Return the lease for a client that must not send to the coordinator itself; this one becomes void."""
        self.settle()
        return Lease(coordinator, self._transaction_id)

    def end(self) -> None:
        """Tell the coordinator that the transaction has ended without a commit."""
        if self._coordinator is not None:
            # In a forked child the transaction is the parent's, and goes on there: there is nobody to tell.
            with contextlib.suppress(ForkedProcessError):
                self._coordinator.send(End(self._transaction_id), None)
        # Only now: if this is interrupted, the coordinator is told again, which changes nothing.
        self.settle()

    def settle(self) -> None:
        """Note that the coordinator knows of the end: it has been told, or has decided the commit."""
        self._coordinator = None
        # The same layout, but without a finalizer.
        self.__class__ = SettledLease  # pyright: ignore[reportAttributeAccessIssue]


class Lease(SettledLease):
    """Tells the coordinator that a transaction has ended: at the latest when the lease is garbage-collected.

    So a client that is interrupted, or forgets a transaction, does not leave it counted as running for ever.
    """

    __slots__ = ()

    @interrupts.uninterrupted
    def __del__(self) -> None:
        # Python would swallow a KeyboardInterrupt here. A lease without the field was never completed: an exception
        # from outside came first, or the stack was full.
        if getattr(self, "_coordinator", None) is not None:
            self.end()
