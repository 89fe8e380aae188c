"""A transaction as coroutines hold it: only its commit is awaited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from inmem.actors.client.client_transaction import BaseTransaction
from inmem.actors.client.commit_outcome import committed_version
from inmem.engine.commits.transaction import TransactionStatus
from inmem.engine.errors import CommitOutcomeUnknownError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from inmem.actors.core.lease import Lease
    from inmem.aio.client import AsyncClient
    from inmem.engine.commits.attempts import TimeLimit
    from inmem.engine.commits.transaction import Transaction as EngineTransaction


class Transaction(BaseTransaction):
    """One transaction of one task.

    Reads come from the snapshot of its beginning and writes are kept until `commit`, so nothing of either waits, and
    nothing of it is awaited. As an async context manager it commits on a clean exit and aborts when an exception, a
    cancellation for instance, passes through.

    Attributes:
        run_id: the run that plain keys and the accessors mean.
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
        """Commit, and return the version: the new one, or the start version when nothing was written.

        When this ends, the transaction has ended: a cancellation withdraws the commit if it has not gone to the log,
        waits for its true outcome otherwise, and goes on then. `status` tells which it was. A coroutine that is dropped
        before its end, as when its loop is closed, ends nothing: `status` stays `validating`, committed or not.

        Raises:
            Exception: the same errors as those of `inmem.Transaction.commit`.
        """
        engine = self._engine
        self._require_active()
        if not engine.has_writes:
            return self._end_without_writes()
        self.require_time()
        request = engine.seal()
        outcome: Any = None
        cancelled: asyncio.CancelledError | None = None
        try:
            outcome, cancelled = await self._async_client.decide(request, self._attempt, self._limit)
            if cancelled is not None and outcome is None:
                raise cancelled
            version = committed_version(outcome)
        except CommitOutcomeUnknownError as error:
            # Neither committed nor aborted: it stays what it is, validating.
            raise error if cancelled is None else cancelled from error
        except (Exception, asyncio.CancelledError) as error:
            # Whatever else ends this, such as the GeneratorExit of a coroutine that is dropped, may have left a commit
            # under way: that stays validating, too.
            if outcome is None:
                # The coordinator may not have heard of it.
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
