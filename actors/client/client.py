"""The client of a running store, on which the proxies and the front door are built.

A client may be used from any number of threads. Reads send no message: they use the newest published snapshot.
Everything else is a request to an actor.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pykka

from inmem.actors.client.client_transaction import Transaction
from inmem.actors.client.transaction_arguments import (
    DEFAULT_RETRY,
    checked_isolation,
    checked_retry,
    checked_timeout,
    no_function,
    refuse_unstarted,
)
from inmem.actors.messages.control import Close
from inmem.actors.messages.transactions import Begin, Begun, CancelCommit, Commit, SettleCommit
from inmem.engine.commits.attempts import Attempts, TimeLimit
from inmem.engine.commits.reader import Reader
from inmem.engine.commits.transaction import Isolation, TransactionStatus
from inmem.engine.commits.transaction import Transaction as EngineTransaction
from inmem.engine.errors import (
    ConflictError,
    DatabaseClosedError,
    ForkedProcessError,
    InmemError,
    TransactionAbortedError,
    TransactionTimeoutError,
)
from inmem.engine.keys import normalize_run_id
from inmem.engine.noncopyable import NonCopyable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from inmem.actors.directory import Directory
    from inmem.actors.dispatch.future import ReplyFuture
    from inmem.actors.dispatch.mailbox import MailboxRef
    from inmem.actors.messages.request import Request
    from inmem.actors.published import Published
    from inmem.engine.commits.attempts import Failure
    from inmem.engine.commits.retry import RetryPolicy
    from inmem.engine.commits.transaction import CommitRequest, IsolationName
    from inmem.engine.tables.snapshot import Snapshot

T = TypeVar("T")

BEGIN: Final = Begin()
_ACTIVE: Final = TransactionStatus.ACTIVE

_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Client(NonCopyable):
    """A connection to one running store.

    Args:
        directory: the addresses of the store's actors.
    """

    def __init__(self, directory: Directory) -> None:
        self._unusable: type[InmemError] | None = None
        self._watching_ended = False
        self.connect(directory)
        _clients.add(self)

    def connect(self, directory: Directory) -> None:
        """Use the store of `directory` from now on."""
        self.directory = directory
        self._published = directory.published
        self._clock = directory.clock
        self._entropy = directory.entropy
        self._routes = directory.routes
        self._coordinator = directory.coordinator

    def snapshot(self) -> Snapshot:
        """Return the newest published snapshot. O(1), without a message.

        Raises:
            DatabaseClosedError: the store was closed.
            ForkedProcessError: this is a forked child.
        """
        # `require_store` inlined: every read outside a transaction takes this path.
        if self._unusable is not None:
            raise self._unusable
        published = self._published
        if published.is_closed:
            raise DatabaseClosedError
        return published.snapshot

    def require_store(self) -> None:
        """Raise unless the store can be read. Code that holds an old snapshot calls this before it reads from it.

        Raises:
            DatabaseClosedError: the store was closed.
            ForkedProcessError: this is a forked child.
        """
        if self._unusable is not None:
            raise self._unusable
        if self._published.is_closed:
            raise DatabaseClosedError

    @property
    def published(self) -> Published:
        """The object through which the store publishes its state. To read the state, use `snapshot`."""
        return self._published

    def is_over(self) -> bool:
        """Whether this client's watchers will receive nothing new.

        Raises:
            ForkedProcessError: this is a forked child.
        """
        if self._unusable is ForkedProcessError:
            raise ForkedProcessError
        return self._watching_ended or self._published.is_closed

    def end_watching(self) -> None:
        """End this client's watchers once they have delivered everything published so far."""
        self._watching_ended = True
        self._published.feed.wake()

    def while_mine(self, items: Iterator[T]) -> Iterator[T]:
        """Yield the items of a lazy iterator, but only in the process that made it.

        Raises:
            ForkedProcessError: this is a forked child, and the iterator was made before the fork.
        """
        for item in items:
            if self._unusable is ForkedProcessError:
                raise ForkedProcessError
            yield item

    def reader(self) -> Reader:
        """Return a reader of the newest snapshot."""
        return Reader(self.snapshot(), self._clock.now_us())

    def now_us(self) -> int:
        """Return the store's time, microseconds since the epoch."""
        return self._clock.now_us()

    def ask(self, request: Request) -> Any:
        """Send a request to the actor that handles it and wait for the answer."""
        return self.ask_actor(self._routes[type(request)], request)

    def send(self, request: Request) -> ReplyFuture[Any]:
        """Send a request to the actor that handles it and return a future of the answer."""
        self.require_handle()
        future: ReplyFuture[Any] = self._routes[type(request)].ask(request, block=False)
        return future

    def ask_actor(self, ref: MailboxRef, message: Any, timeout_s: float | None = None) -> Any:
        """Send a message to a given actor and wait for the answer."""
        if self._unusable is not None:
            raise self._unusable
        mailbox = ref.mailbox
        if mailbox.stopped:
            raise DatabaseClosedError
        try:
            return mailbox.dispatcher.ask(mailbox, message, timeout_s)
        except pykka.ActorDeadError:
            raise DatabaseClosedError from None

    def monotonic_s(self) -> float:
        """Return the store's monotonic time."""
        return self._clock.monotonic_s()

    def time_limit(self, timeout: float | None) -> TimeLimit | None:
        """Return the deadline of a call that starts now, or None for no limit.

        Raises:
            UsageError: `timeout` is not a timeout.
        """
        timeout_s = checked_timeout(timeout)
        return None if timeout_s is None else TimeLimit(timeout_s, self.monotonic_s() + timeout_s)

    def begin(
        self, run: str | UUID, *, isolation: IsolationName = "snapshot", timeout: float | None = None
    ) -> Transaction:
        """Begin a transaction: one message, whatever the size of the store. See `Database.begin`."""
        limit = None if timeout is None else self.time_limit(timeout)
        return self._begin(normalize_run_id(run), checked_isolation(isolation), limit, 0)

    def _begin(self, run_id: str, level: Isolation, limit: TimeLimit | None, attempt: int) -> Transaction:
        if limit is None or limit.is_nothing:
            begun: Begun = self.ask_actor(self._coordinator, BEGIN)
        else:
            begun = self._begun_in_time(limit)
        engine = EngineTransaction(
            begun.transaction_id, begun.snapshot, begun.now_us, self._entropy, level, self.directory.limits
        )
        return Transaction(self, engine, run_id, begun.lease, limit=limit, attempt=attempt)

    def commit(self, request: CommitRequest, attempt: int, limit: TimeLimit | None) -> Any:
        """Take a sealed transaction through the commit protocol and return the coordinator's answer.

        If the time is over before the commit goes to the log, the commit is withdrawn; after that point the call waits
        for the true outcome. If this raises, the coordinator may not know that the transaction is over.
        """
        message = Commit(request, attempt)
        if limit is None:
            return self.ask_actor(self._coordinator, message)
        return self._commit_in_time(message, limit)

    def settle(self, request: CommitRequest) -> Any:
        """Return how a commit ended whose `commit` was interrupted, perhaps before it was sent.

        If it has not gone to the log, it is withdrawn; otherwise the call waits for its outcome.
        """
        question = SettleCommit(request.transaction_id, request.start_version)
        while True:
            # If the coordinator fails at the question, its successor knows the answer.
            with contextlib.suppress(TransactionAbortedError):
                return self.ask_actor(self._coordinator, question)

    def transaction(
        self,
        run: str | UUID,
        fn: Callable[[Transaction], T],
        *,
        isolation: IsolationName = "snapshot",
        retry: RetryPolicy = DEFAULT_RETRY,
        timeout: float | None = None,
    ) -> T:
        """Run `fn(txn)` in this thread and commit; after a conflict, repeat on a fresh snapshot. See `Database`."""
        run_id = normalize_run_id(run)
        level = checked_isolation(isolation)
        limit = None if timeout is None else self.time_limit(timeout)
        if retry is not DEFAULT_RETRY:
            checked_retry(retry)
        if not callable(fn):
            raise no_function(fn)
        if limit is not None and limit.is_nothing:
            raise TransactionTimeoutError(limit.timeout_s)
        attempts = Attempts(retry, limit)
        while True:
            failure: Failure | None
            try:
                txn = self._begin(run_id, level, limit, attempts.number)
            except TransactionAbortedError as error:
                failure = error
            else:
                try:
                    if limit is not None:
                        txn.require_time()
                    result = fn(txn)
                    kind = type(result)
                    # No set lookup: not every type is hashable.
                    if kind is CoroutineType or kind is GeneratorType or kind is AsyncGeneratorType:
                        refuse_unstarted(fn, result)
                except BaseException:
                    txn.abort_unless_ended()
                    raise
                failure = _commit_unless_ended(txn, limit)
                if failure is None:
                    return result
            self.directory.dispatcher.sleep(attempts.pause_s(failure, self._entropy.uniform(), self.monotonic_s()))

    def _begun_in_time(self, limit: TimeLimit) -> Begun:
        with contextlib.suppress(pykka.Timeout):
            begun: Begun = self.ask_actor(self._coordinator, BEGIN, limit.remaining_s(self.monotonic_s()))
            return begun
        # Not raised while pykka.Timeout is handled: that exception holds the frames that waited for the answer, and
        # when a late answer arrives, nothing may keep its lease alive.
        raise TransactionTimeoutError(limit.timeout_s)

    def _commit_in_time(self, message: Commit, limit: TimeLimit) -> Any:
        self.require_handle()
        future = self._coordinator.ask(message, block=False)
        try:
            return future.get(timeout=limit.remaining_s(self.monotonic_s()))
        except pykka.Timeout:
            self._coordinator.send(CancelCommit(message.request.transaction_id, limit.timeout_s), None)
            return future.get()

    def close(self) -> None:
        """Refuse everything from now on. Does not close the store."""
        if self._unusable is None:
            self._unusable = DatabaseClosedError

    def close_store(self) -> None:
        """Close the store itself and return when it is closed.

        Raises:
            StorageError: acknowledged commits could not be made durable.
        """
        try:
            self.directory.supervisor.ask(Close())
        except pykka.ActorDeadError:
            # The store is closed already: it was stopped by ActorRegistry.stop_all(), for example.
            return

    def require_handle(self) -> None:
        """Raise DatabaseClosedError or ForkedProcessError if this handle no longer takes requests."""
        if self._unusable is not None:
            raise self._unusable

    @property
    def is_open(self) -> bool:
        """Whether requests are accepted."""
        return self._unusable is None

    @property
    def state(self) -> str:
        """The handle's state as its repr shows it; empty for a handle that is open and may write."""
        if not self.is_open:
            return ", closed"
        return ", read-only" if self.directory.is_read_only else ""

    @property
    def is_disowned(self) -> bool:
        """Whether this is a forked child's copy of its parent's connection."""
        return self._unusable is ForkedProcessError

    def disown(self) -> None:
        """Refuse all further calls, in a forked child: the connection belongs to the parent."""
        self._unusable = ForkedProcessError


def _commit_unless_ended(txn: Transaction, limit: TimeLimit | None) -> Failure | None:
    """Commit, unless the user's function has ended the transaction itself; return a failure worth another attempt."""
    if txn.status is not _ACTIVE:
        return None
    try:
        if limit is not None:
            # The limit covers the whole call: it applies even if there is nothing to commit.
            txn.require_time()
        txn.commit_and_keep()
    except (ConflictError, TransactionAbortedError) as error:
        return error
    except BaseException:
        # The commit was refused for its size, or interrupted before the transaction was sealed: it is still active.
        txn.abort_unless_ended()
        raise
    return None


def clients_of(directory: Directory) -> list[Client]:
    """Return all clients of that store, in no particular order."""
    return [client for client in tuple(_clients) if client.directory is directory]


def close_clients() -> None:
    """Have every client of this process refuse everything from now on, whatever its store."""
    for client in tuple(_clients):
        client.close()


def _after_fork_in_child() -> None:
    for client in tuple(_clients):
        client.disown()


os.register_at_fork(after_in_child=_after_fork_in_child)
