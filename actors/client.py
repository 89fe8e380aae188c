"""What a client of a running store can do; proxies and the front door are written on top of it.

A client may be used from any number of threads. Reads never send a message: they look at the newest published
snapshot. Everything else is a request to an actor.
"""

from __future__ import annotations

import os
import weakref
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pykka

from inmem.actors.client_transaction import ClientTransaction
from inmem.actors.messages.control import Close
from inmem.actors.messages.transactions import (
    Begin,
    Begun,
    CancelCommit,
    Commit,
    CommitAborted,
    CommitRefused,
    Committed,
)
from inmem.actors.transaction_arguments import (
    DEFAULT_RETRY,
    checked_isolation,
    checked_retry,
    checked_timeout,
    refuse_unstarted,
)
from inmem.engine.conflicts import CasConflict
from inmem.engine.errors import (
    CasConflictError,
    ConflictError,
    DatabaseClosedError,
    ForkedProcessError,
    InmemError,
    InvariantError,
    RetriesExhaustedError,
    TransactionAbortedError,
    TransactionTimeoutError,
)
from inmem.engine.keys import normalize_run_id
from inmem.engine.noncopyable import NonCopyable
from inmem.engine.reader import LatestReader, Reader
from inmem.engine.transaction import Isolation, Transaction, TransactionStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from inmem.actors.directory import Directory
    from inmem.actors.future import ReplyFuture
    from inmem.actors.mailbox import MailboxRef
    from inmem.actors.messages.request import Request
    from inmem.actors.published import Published
    from inmem.engine.conflicts import Conflict
    from inmem.engine.retry import RetryPolicy
    from inmem.engine.snapshot import Snapshot
    from inmem.engine.transaction import CommitRequest

T = TypeVar("T")

BEGIN: Final = Begin()
_ACTIVE: Final = TransactionStatus.ACTIVE

_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Client(NonCopyable):
    """A connection to one running store.

    Args:
        directory: where everybody is.
    """

    def __init__(self, directory: Directory) -> None:
        self._unusable: type[InmemError] | None = None
        self._watching_ended = False
        self.connect(directory, directory.published)
        _clients.add(self)

    def connect(self, directory: Directory, published: Published) -> None:
        """Talk to the store of `directory` from now on, and take `published` for its newest state."""
        self.directory = directory
        self._published = published
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
        # `require_store` written out: every read outside of transactions comes through here.
        if self._unusable is not None:
            raise self._unusable
        published = self._published
        if published.is_closed:
            raise DatabaseClosedError
        return published.snapshot

    def require_store(self) -> None:
        """Raise unless the store can be read: what holds an old snapshot asks before it looks there.

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
        """What the store makes visible. `snapshot` is the way to look at the state."""
        return self._published

    def is_over(self) -> bool:
        """Whether there will be nothing new for this client's watchers.

        Raises:
            ForkedProcessError: this is a forked child.
        """
        if self._unusable is ForkedProcessError:
            raise ForkedProcessError
        return self._watching_ended or self._published.is_closed

    def end_watching(self) -> None:
        """Have this client's watchers end, once they have handed out what there is."""
        self._watching_ended = True
        self._published.feed.wake()

    def reader(self) -> Reader:
        """Return a reader of the newest snapshot."""
        return Reader(self.snapshot(), self._clock.now_us(), self._entropy)

    def latest_reader(self) -> LatestReader:
        """Return a reader of single keys that always looks at the newest snapshot."""
        return LatestReader(self.snapshot, self._now_us, self._entropy)

    def _now_us(self) -> int:
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
        """Send a message to a certain actor and wait for the answer."""
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

    def begin(self, run: str | UUID, *, isolation: str = "snapshot", timeout: float | None = None) -> ClientTransaction:
        """Begin a transaction: one message, whatever the size of the store. See `Database.begin`."""
        return self._begin(normalize_run_id(run), checked_isolation(isolation), checked_timeout(timeout), 0)

    def _begin(self, run_id: str, level: Isolation, timeout_s: float | None, attempt: int) -> ClientTransaction:
        begun: Begun = self.ask_actor(self._coordinator, BEGIN)
        engine = Transaction(
            begun.transaction_id, begun.snapshot, begun.now_us, self._entropy, level, self.directory.limits
        )
        return ClientTransaction(self, engine, run_id, begun.lease, timeout_s=timeout_s, attempt=attempt)

    def commit(self, request: CommitRequest, attempt: int, remaining_s: float | None, timeout_s: float | None) -> int:
        """Take a sealed transaction through the commit protocol and return its version.

        When `remaining_s` seconds are over before the commit has gone to the log it is withdrawn; after that its true
        outcome is waited for. For the errors see `ClientTransaction.commit`.
        """
        message = Commit(request, attempt)
        if remaining_s is None or timeout_s is None:
            outcome: Any = self.ask_actor(self._coordinator, message)
        else:
            outcome = self._commit_in_time(message, remaining_s, timeout_s)
        if outcome.__class__ is Committed:
            version: int = outcome.version
            return version
        return committed_version(outcome)

    def transaction(
        self,
        run: str | UUID,
        fn: Callable[[ClientTransaction], T],
        *,
        isolation: str = "snapshot",
        retry: RetryPolicy = DEFAULT_RETRY,
        timeout: float | None = None,
    ) -> T:
        """Run `fn(txn)` in this thread and commit, again on a fresh snapshot after a conflict. See `Database`."""
        run_id = normalize_run_id(run)
        level = checked_isolation(isolation)
        timeout_s = None if timeout is None else checked_timeout(timeout)
        if retry is not DEFAULT_RETRY:
            checked_retry(retry)
        deadline_s = None if timeout_s is None else self.monotonic_s() + timeout_s
        attempt = 0
        while True:
            remaining_s = None if deadline_s is None else deadline_s - self.monotonic_s()
            if remaining_s is not None and timeout_s is not None and remaining_s <= 0:
                raise TransactionTimeoutError(timeout_s)
            failure: ConflictError | TransactionAbortedError | None
            try:
                txn = self._begin(run_id, level, remaining_s, attempt)
            except TransactionAbortedError as error:
                failure = error
            else:
                try:
                    result = fn(txn)
                    kind = type(result)
                    # Not by `in`: not every type can be hashed.
                    if kind is CoroutineType or kind is GeneratorType or kind is AsyncGeneratorType:
                        refuse_unstarted(fn, result)
                except BaseException:
                    txn.abort_unless_ended()
                    raise
                failure = _commit_unless_ended(txn, timeout_s)
                if failure is None:
                    return result
            self.directory.dispatcher.sleep(self.pause_s(failure, attempt, retry, deadline_s))
            attempt += 1

    def pause_s(
        self,
        failure: ConflictError | TransactionAbortedError,
        attempt: int,
        retry: RetryPolicy,
        deadline_s: float | None,
    ) -> float:
        """Return how long to pause after the failed `attempt`, counted from 0, before the next one.

        Raises:
            RetriesExhaustedError: there will be no next one.
            TransactionAbortedError: nor then.
        """
        if attempt >= retry.max_retries:
            if isinstance(failure, ConflictError):
                raise RetriesExhaustedError(attempt + 1, failure.conflicts) from failure
            raise failure
        delay_s = retry.delay_s(attempt, self._entropy.uniform())
        return delay_s if deadline_s is None else min(delay_s, max(0.0, deadline_s - self.monotonic_s()))

    def _commit_in_time(self, message: Commit, remaining_s: float, timeout_s: float) -> Any:
        self.require_handle()
        future = self._coordinator.ask(message, block=False)
        try:
            return future.get(timeout=remaining_s)
        except pykka.Timeout:
            self._coordinator.send(CancelCommit(message.request.transaction_id, timeout_s), None)
            return future.get()

    def close(self) -> None:
        """Refuse everything from now on. Does not close the store."""
        if self._unusable is None:
            self._unusable = DatabaseClosedError

    def close_store(self) -> None:
        """Close the store itself, and return when that is done.

        Raises:
            StorageError: what was acknowledged could not be made durable.
        """
        try:
            self.directory.supervisor.ask(Close())
        except pykka.ActorDeadError:
            # Somebody has stopped the store already, by ActorRegistry.stop_all() for example: it is closed.
            return

    def require_handle(self) -> None:
        """Raise DatabaseClosedError or ForkedProcessError if this handle takes no requests any more."""
        if self._unusable is not None:
            raise self._unusable

    @property
    def is_open(self) -> bool:
        """Whether requests are accepted."""
        return self._unusable is None

    @property
    def is_disowned(self) -> bool:
        """Whether this is a forked child's copy of its parent's connection."""
        return self._unusable is ForkedProcessError

    def disown(self) -> None:
        """In a forked child: everything here belongs to the parent."""
        self._unusable = ForkedProcessError


def _commit_unless_ended(
    txn: ClientTransaction, timeout_s: float | None
) -> ConflictError | TransactionAbortedError | None:
    """Commit, unless the user's function has ended the transaction by hand; return what is worth another attempt."""
    if txn.status is not _ACTIVE:
        return None
    try:
        if timeout_s is not None:
            # Here the time is that of the whole call: it is up even if there is nothing to commit.
            txn.remaining_s()
        txn.commit()
    except (ConflictError, TransactionAbortedError) as error:
        return error
    except TransactionTimeoutError:
        raise TransactionTimeoutError(timeout_s or 0.0) from None
    except BaseException:
        # Refused for its size, or struck before it was sealed: it is still active.
        txn.abort_unless_ended()
        raise
    return None


def committed_version(outcome: Any) -> int:
    """Return the version of a commit, or raise why there is none; `outcome` is what the coordinator has answered."""
    match outcome:
        case Committed(version):
            return version
        case CommitRefused(conflicts):
            raise _conflict_error(conflicts)
        case CommitAborted(error):
            raise error.anew()
        case _:
            raise InvariantError(f"the coordinator answered a commit with {outcome!r}")


def _conflict_error(conflicts: tuple[Conflict, ...]) -> ConflictError:
    if len(conflicts) == 1 and isinstance(conflicts[0], CasConflict):
        conflict = conflicts[0]
        return CasConflictError(str(conflict.key), conflict.expected_version, conflict.current_version, conflicts)
    return ConflictError(conflicts)


def clients_of(directory: Directory) -> list[Client]:
    """Return everybody who talks to that store, in no particular order."""
    return [client for client in tuple(_clients) if client.directory is directory]


def _after_fork_in_child() -> None:
    for client in tuple(_clients):
        client.disown()


os.register_at_fork(after_in_child=_after_fork_in_child)
