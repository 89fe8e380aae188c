"""The transaction for coroutines: only its commit is awaited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from inmem.actors.client.client_transaction import BaseTransaction
from inmem.actors.client.commit_outcome import committed_version
from inmem.engine.commits.transaction import TransactionStatus
from inmem.engine.errors import CommitOutcomeUnknownError, InmemError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from inmem.actors.core.lease import Lease
    from inmem.aio.client import AsyncClient
    from inmem.engine.commits.attempts import TimeLimit
    from inmem.engine.commits.transaction import Transaction as EngineTransaction


class Transaction(BaseTransaction):
    """One transaction of one task.

    Reads come from the transaction's snapshot and writes are buffered until `commit`, so neither waits or is awaited.
    As an async context manager it commits on a clean exit and aborts on an exception, including a cancellation.

    Attributes:
        run_id: the run that plain keys and the accessors refer to.
    """

    __slots__ = ("_async_client",)

    def __init__(
        self,
        client: AsyncClient,
        engine: EngineTransaction,
        run_id: str,
        lease: Lease,
        *,
        limit: TimeLimit | None,
        attempt: int,
    ) -> None:
        super().__init__(client, engine, run_id, lease, limit=limit, attempt=attempt)
        self._async_client = client

    async def commit(self) -> int:
        """Commit, and return the commit version, or the start version if nothing was written.

        When this call ends, the transaction has ended: a cancellation withdraws the commit if it has not gone to the
        log; otherwise it waits for the true outcome and then proceeds. `status` tells which it was. If the coroutine is
        dropped before its end, for instance because its loop is closed, `status` stays `validating`, whether the
        transaction committed or not.

        Raises:
            Exception: the same errors as `inmem.Transaction.commit`.
        """
        engine = self._engine
        self._require_active()
        if not engine.has_writes:
            version = self._end_without_writes()
            engine.release()
            return version
        self.require_time()
        request = engine.seal()
        # The variable of an `async with` block outlives the block. It must not keep old states of keys alive.
        engine.release()
        outcome: Any = None
        cancelled: asyncio.CancelledError | None = None
        try:
            outcome, cancelled = await self._async_client.decide(request, self._attempt, self._limit)
            if cancelled is not None and outcome is None:
                raise cancelled
            version = committed_version(outcome)
        except CommitOutcomeUnknownError as error:
            # Known neither as committed nor as aborted: the status stays `validating`.
            raise error if cancelled is None else cancelled from error
        except (InmemError, asyncio.CancelledError) as error:
            # Other exceptions are not caught, such as the GeneratorExit of a dropped coroutine, or what a signal
            # handler raises: the commit may still be in progress, so the status stays `validating` then, too.
            if outcome is None:
                # The coordinator may not know of the end.
                self._lease.end()
            engine.finish(TransactionStatus.ABORTED)
            if cancelled is None or cancelled is error:
                raise
            raise cancelled from error
        engine.finish(TransactionStatus.COMMITTED)
        if cancelled is not None:
            raise cancelled
        return version

    async def __aenter__(self) -> Self:
        self._require_active()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if exc_type is None and self._engine.status is TransactionStatus.ACTIVE:
                await self.commit()
        finally:
            self.abort_unless_ended()
