"""The client for coroutines: it sends messages through a courier and awaits the answers."""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from inmem.actors.client.client import BEGIN, Client
from inmem.actors.client.courier import Courier
from inmem.actors.client.transaction_arguments import (
    DEFAULT_RETRY,
    checked_isolation,
    checked_retry,
    no_function,
    refuse_generator,
)
from inmem.actors.messages.transactions import Begun, CancelCommit, Commit
from inmem.aio.port import Port
from inmem.aio.transaction import Transaction
from inmem.engine.commits.attempts import Attempts
from inmem.engine.commits.transaction import Transaction as EngineTransaction
from inmem.engine.commits.transaction import TransactionStatus
from inmem.engine.errors import ConflictError, TransactionAbortedError, TransactionTimeoutError, UsageError
from inmem.engine.keys import normalize_run_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from inmem.actors.directory import Directory
    from inmem.actors.dispatch.mailbox import MailboxRef
    from inmem.actors.messages.request import Request
    from inmem.engine.commits.attempts import Failure, TimeLimit
    from inmem.engine.commits.retry import RetryPolicy
    from inmem.engine.commits.transaction import CommitRequest, Isolation, IsolationName


class AsyncClient(Client):
    """A connection to one running store for any number of event loops, in any number of threads.

    When an await ends, the awaited operation has ended. A cancelled request that has not reached the store is
    withdrawn; otherwise the cancellation proceeds only after the answer has arrived.

    Args:
        directory: the store's actors, feed and dispatcher.
    """

    def __init__(self, directory: Directory) -> None:
        super().__init__(directory)
        self._courier = Courier(directory.dispatcher)
        # A thread runs one loop at a time.
        self._local = threading.local()

    def start(self) -> None:
        """Start the courier's thread. This blocks briefly, so do not call it in a loop's thread."""
        self._courier.start()

    def stop(self) -> None:
        """Let the courier's thread end. Transactions that are still open can be ended afterwards."""
        self._courier.close()

    @property
    def port(self) -> Port:
        """The port of the running loop."""
        loop = asyncio.get_running_loop()
        port: Port | None = getattr(self._local, "port", None)
        if port is None or port.loop is not loop:
            port = self._local.port = Port(loop, self._courier)
        return port

    def ask_actor(self, ref: MailboxRef, message: Any, timeout_s: float | None = None) -> Any:  # noqa: ARG002
        """Refuse every request: waiting for an answer here would run actors in the loop's thread.

        The methods of the plain proxies that `aio/proxies.py` does not wrap call this.
        """
        raise UsageError(
            f"{type(message).__name__} waits for the store: in a coroutine await the method of the same name of "
            "inmem.aio, in a thread use the `plain` of the database"
        )

    def send(self, request: Request) -> Any:
        """Return a coroutine that sends a request to the actor that handles it and returns the answer."""
        return self.request(self._routes[type(request)], request)

    async def request(self, ref: MailboxRef, message: Any) -> Any:
        """Send a request and return the answer; when this call ends, the request has ended."""
        self.require_handle()
        answer = self.port.ask(ref, message)
        try:
            return await answer.future
        except asyncio.CancelledError:
            if not answer.withdraw():
                await answer.to_the_end()
            raise

    async def wait_for(self, ref: MailboxRef, message: Any) -> Any:
        """Send a request that changes no data and return the answer; if cancelled, do not wait for the answer."""
        self.require_handle()
        answer = self.port.ask(ref, message)
        try:
            return await answer.future
        except asyncio.CancelledError:
            answer.withdraw()
            # The traceback keeps this frame alive, and the frame must not keep the answer's value alive.
            del answer
            raise

    async def begin_transaction(
        self, run: str | UUID, *, isolation: IsolationName = "snapshot", timeout: float | None = None
    ) -> Transaction:
        """Begin a transaction. See `Database.begin`."""
        return await self._begin_in_time(
            normalize_run_id(run), checked_isolation(isolation), self.time_limit(timeout), 0
        )

    async def _begin_in_time(self, run_id: str, level: Isolation, limit: TimeLimit | None, attempt: int) -> Transaction:
        begun = await self._begun(limit)
        engine = EngineTransaction(
            begun.transaction_id, begun.snapshot, begun.now_us, self._entropy, level, self.directory.limits
        )
        return Transaction(self, engine, run_id, begun.lease, limit=limit, attempt=attempt)

    async def _begun(self, limit: TimeLimit | None) -> Begun:
        self.require_handle()
        answer = self.port.ask(self._coordinator, BEGIN)
        # A transaction with a timeout of 0 may still read its snapshot, so its begin has no limit.
        is_limited = limit is not None and not limit.is_nothing
        # Only with a limit: `asyncio.timeout` requires a Task, and a begin without a limit does not.
        own = asyncio.timeout(limit.remaining_s(self.monotonic_s())) if limit and is_limited else None
        try:
            async with own or nullcontext():
                return await answer.future  # type: ignore[no-any-return]
        except TimeoutError:
            if limit is None or own is None or not own.expired():
                raise
            # No need to wait for the answer: if it arrives, dropping its lease ends the transaction.
            answer.withdraw()
        except asyncio.CancelledError:
            if not answer.withdraw():
                begun = await answer.to_the_end()
                if begun is not None:
                    begun.lease.end()
            raise
        finally:
            # The traceback keeps this frame alive, and the frame must not keep the answer's value alive.
            del answer
        raise TransactionTimeoutError(limit.timeout_s)

    async def decide(
        self, request: CommitRequest, attempt: int, limit: TimeLimit | None
    ) -> tuple[Any, asyncio.CancelledError | None]:
        """Run the commit protocol for a sealed transaction and wait for its outcome.

        If the time limit expires or the task is cancelled before the commit has gone to the log, the commit is
        withdrawn. Afterwards this waits for the commit's true outcome.

        Returns:
            The coordinator's answer, or None if it was never asked; and the cancellation, if there was one.
        """
        self.require_handle()
        port = self.port
        answer = port.ask(self._coordinator, Commit(request, attempt))
        timeout_s = 0.0 if limit is None else limit.timeout_s
        cancel = CancelCommit(request.transaction_id, timeout_s)
        timer: asyncio.TimerHandle | None = None

        def expire() -> None:
            if answer.withdraw():
                answer.settle(None, TransactionTimeoutError(timeout_s))
            else:
                port.tell(self._coordinator, cancel)

        if limit is not None:
            timer = port.loop.call_later(limit.remaining_s(self.monotonic_s()), expire)
        try:
            return await answer.future, None
        except asyncio.CancelledError as cancelled:
            if answer.withdraw():
                return None, cancelled
            port.tell(self._coordinator, cancel)
            return await answer.to_the_end(), cancelled
        finally:
            if timer is not None:
                timer.cancel()

    async def run_transaction(
        self,
        run: str | UUID,
        fn: Callable[[Transaction], Any],
        *,
        isolation: IsolationName = "snapshot",
        retry: RetryPolicy = DEFAULT_RETRY,
        timeout: float | None = None,
    ) -> Any:
        """Run `fn(txn)`, await its result if it is awaitable, and commit. See `Database.transaction`."""
        run_id = normalize_run_id(run)
        level = checked_isolation(isolation)
        limit = self.time_limit(timeout)
        checked_retry(retry)
        if not callable(fn):
            raise no_function(fn)
        if limit is not None and limit.is_nothing:
            raise TransactionTimeoutError(limit.timeout_s)
        attempts = Attempts(retry, limit)
        while True:
            failure: Failure
            try:
                txn = await self._begin_in_time(run_id, level, limit, attempts.number)
            except TransactionAbortedError as error:
                failure = error
            else:
                try:
                    txn.require_time()
                    result = fn(txn)
                    if isawaitable(result):
                        result = await result
                    refuse_generator(fn, result)
                except BaseException:
                    txn.abort_unless_ended()
                    raise
                try:
                    if txn.status is TransactionStatus.ACTIVE:
                        # The limit covers the whole call, so it applies even if there is nothing to commit.
                        txn.require_time()
                        await txn.commit()
                except (ConflictError, TransactionAbortedError) as error:
                    failure = error
                else:
                    return result
                finally:
                    txn.abort_unless_ended()
            await asyncio.sleep(attempts.pause_s(failure, self._entropy.uniform(), self.monotonic_s()))
