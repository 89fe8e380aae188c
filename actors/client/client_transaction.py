"""The public transaction: the engine's transaction, with the primitives on top and the coordinator behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from inmem.actors.client.commit_outcome import committed_version
from inmem.actors.client.run_access import RunAccess
from inmem.actors.messages.transactions import CommitAborted, Committed
from inmem.engine.commits.transaction import TransactionStatus
from inmem.engine.errors import (
    CommitOutcomeUnknownError,
    InmemError,
    InvalidKeyError,
    TransactionClosedError,
    TransactionTimeoutError,
    UsageError,
)
from inmem.engine.keys import Key, Tag, normalize_run_id, sequence_of
from inmem.engine.shown import type_name
from inmem.primitives.cells import CellOperations, state_of
from inmem.primitives.events import EventOperations, bounded_event_key
from inmem.primitives.kv import KVOperations, VersionedValue
from inmem.primitives.paging import scan_names
from inmem.primitives.traces import TraceOperations, trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self
    from uuid import UUID

    from inmem.actors.client.client import Client
    from inmem.actors.core.lease import Lease
    from inmem.engine.commits.attempts import TimeLimit
    from inmem.engine.commits.transaction import CommitRequest
    from inmem.engine.commits.transaction import Transaction as EngineTransaction


_VALUE_OF: Final[dict[Tag, Callable[[str, bytes], Any]]] = {
    Tag.STATE: lambda _, data: state_of(data),
    Tag.TRACE: trace_of,
}
_LISTED_BY: Final = {
    Tag.EVENT: "events are listed by read_range, iter and tail of txn.events",
    Tag.RUN: "runs are listed by query_runs and list_runs of txn.runs",
}

_ACTIVE: Final = TransactionStatus.ACTIVE
_VALIDATING: Final = TransactionStatus.VALIDATING
_COMMITTED: Final = TransactionStatus.COMMITTED


class BaseTransaction(RunAccess):
    """The operations of a transaction, however it is committed. None of them ever waits.

    Reads come from the snapshot taken at its beginning; writes are buffered until the commit. Annotate a function with
    this type if it must work with both `Database.transaction` and that of `inmem.aio`. Do not share among threads.

    Every read and write raises TransactionClosedError once the transaction has ended, DatabaseClosedError once the
    store is closed, and InvalidKeyError, InvalidValueError or UsageError for an invalid argument, changing nothing.

    Attributes:
        run_id: the run that plain keys and the accessors refer to.
    """

    __slots__ = ("__weakref__", "_attempt", "_lease", "_limit")

    def __init__(
        self,
        client: Client,
        engine: EngineTransaction,
        run_id: str,
        lease: Lease,
        *,
        limit: TimeLimit | None,
        attempt: int,
    ) -> None:
        RunAccess.__init__(self, client, engine, run_id)
        self._lease = lease
        self._attempt = attempt
        self._limit = limit

    @property
    def id(self) -> int:
        """Unique while the database is open, and greater than the id of every earlier commit."""
        return self._engine.id

    @property
    def start_version(self) -> int:
        """The version whose state this transaction sees."""
        return self._engine.start_version

    @property
    def status(self) -> TransactionStatus:
        """active, validating, committed or aborted."""
        return self._engine.status

    def on(self, run: str | UUID) -> RunAccess:
        """Return the accessors of another run, in this same transaction and commit. O(1)."""
        self._client.require_store()
        self._require_active()
        return RunAccess(self._client, self._engine, normalize_run_id(run))

    def get(self, key: str | Key) -> Any:
        """Return the value of `key`, or None.

        A str is a KVStore key of this transaction's run. A `Key` of another primitive reads what that primitive
        returns: an Event, a State, a Trace, a RunMetadata.
        """
        if type(key) is str:
            kv = self._kv
            if kv is None:
                return self.kv.get(key)
            self._client.require_store()
            return kv.get(key)
        return self._read(_as_key(key))

    def get_versioned(self, key: str | Key) -> VersionedValue | None:
        """Return the value of `key` with the version to pass to `cas`, or None.

        For a key written in this transaction, that is the version in the snapshot; 0 if the key has never existed.
        """
        if type(key) is str:
            return self.kv.get_versioned(key)
        checked = _as_key(key)
        if checked.tag is Tag.KV:
            return self._kv_of(checked).get_versioned(checked.user_key.decode())
        value = self._read(checked)
        if value is None:
            return None
        version = self._engine.view(checked.run_id, checked.tag).version(checked.user_key)
        return VersionedValue(value, version, None)

    def put(self, key: str | Key, value: object, ttl: float | None = None) -> None:
        """Set a KVStore key to a copy of `value`, to expire `ttl` seconds after the transaction's start if given."""
        if type(key) is str:
            kv = self._kv
            if kv is None:
                self.kv.put(key, value, ttl)
            else:
                self._client.require_store()
                kv.put(key, value, ttl)
        else:
            checked = _of_kv(key)
            self._kv_of(checked).put(checked.user_key.decode(), value, ttl)

    def delete(self, key: str | Key) -> bool:
        """Delete a KVStore key; return whether it existed. Deleting a key that does not exist writes nothing."""
        if type(key) is str:
            return self.kv.delete(key)
        checked = _of_kv(key)
        return self._kv_of(checked).delete(checked.user_key.decode())

    def cas(self, key: str | Key, expected_version: int, value: object, ttl: float | None = None) -> None:
        """Set a KVStore key if, at commit, it has `expected_version`; 0 means "has never existed".

        A mismatch shows only at commit, as a CasConflict; until then reads here return the new value.
        """
        if type(key) is str:
            self.kv.cas(key, expected_version, value, ttl)
        else:
            checked = _of_kv(key)
            self._kv_of(checked).cas(checked.user_key.decode(), expected_version, value, ttl)

    def scan(self, prefix: str | Key = "") -> Iterator[tuple[Any, Any]]:
        """Iterate over (key, value) in key order, including the writes made in this transaction before the call.

        A str prefix yields str keys of this run's KVStore. A `Key.kv`, `Key.state` or `Key.trace` yields `Key`s of its
        own run and primitive, with the values that `get` returns for them.

        Raises:
            InvalidKeyError: any other prefix. A sequence or a run id is no prefix; see `txn.events` and `txn.runs`.
        """
        if type(prefix) is str:
            return self.kv.scan(prefix)
        checked = _as_key(prefix)
        run, tag, start = checked.run_id, checked.tag, checked.user_key
        if tag is Tag.KV:
            return ((Key.kv(run, key), value) for key, value in self._kv_of(checked).scan(start.decode()))
        if tag not in _VALUE_OF:
            raise InvalidKeyError("prefix", f"{checked} is none; {_LISTED_BY.get(tag, 'it belongs to the store')}")
        self._client.require_store()
        value_of = _VALUE_OF[tag]
        entries = scan_names(self._engine.view(run, tag), start.decode())
        found = ((Key(run, tag, name.encode()), value_of(name, data)) for name, data in entries)
        # A deleted cell keeps its entry.
        return ((key, value) for key, value in found if value is not None)

    def abort(self) -> None:
        """Abort, and discard all writes.

        Raises:
            TransactionClosedError: it has already ended, or the outcome of its commit is unknown.
        """
        self._require_active()
        self._engine.finish(TransactionStatus.ABORTED)
        self._lease.end()
        self._engine.release()

    def require_time(self) -> None:
        """Raise if no time is left for the commit. For the package itself; programs do not need it.

        Raises:
            TransactionTimeoutError: no time is left; the transaction is aborted.
        """
        limit = self._limit
        if limit is not None and not limit.remaining_s(self._client.monotonic_s()):
            self.abort()
            raise TransactionTimeoutError(limit.timeout_s)

    def abort_unless_ended(self) -> None:
        """Abort unless the transaction has ended. For the package itself; programs use `abort`."""
        if self._engine.status is _ACTIVE:
            self.abort()

    def __repr__(self) -> str:
        return f"<Transaction {self.id} of run {self.run_id!r}, {self.status}>"

    def _require_active(self) -> None:
        if self._engine.status is not _ACTIVE:
            raise TransactionClosedError(self._engine.status)

    def _end_without_writes(self) -> int:
        """Commit a transaction without writes, which takes no message, and return the version of its snapshot."""
        engine = self._engine
        try:
            self._client.require_store()
        except InmemError:
            self.abort()
            raise
        self._lease.end()
        engine.finish(TransactionStatus.VALIDATING)
        engine.finish(_COMMITTED)
        return engine.start_version

    def _kv_of(self, key: Key) -> KVOperations:
        self._client.require_store()
        return self.kv if key.run_id == self.run_id else KVOperations(self._engine, key.run_id)

    def _read(self, key: Key) -> Any:
        self._client.require_store()
        match key.tag:
            case Tag.KV:
                return self._kv_of(key).get(key.user_key.decode())
            case Tag.EVENT:
                sequence = sequence_of(key.user_key)
                if key.user_key != bounded_event_key(sequence):
                    raise InvalidKeyError("key", f"{key} is that of no event: there is no such sequence")
                return EventOperations(self._engine, key.run_id).read(sequence)
            case Tag.STATE:
                return CellOperations(self._engine, key.run_id).read(key.user_key.decode())
            case Tag.TRACE:
                return TraceOperations(self._engine, key.run_id).get(key.user_key.decode())
            case Tag.RUN:
                return self.runs.get_run(key.run_id)
            case _:
                raise InvalidKeyError("key", f"{key} belongs to the store")


class Transaction(BaseTransaction):
    """One transaction of one client. Do not share it among threads.

    Reads come from the snapshot taken at its beginning and never wait; writes are buffered until `commit`. As a context
    manager it commits on a clean exit and aborts on an exception.

    Attributes:
        run_id: the run that plain keys and the accessors refer to.
    """

    __slots__ = ()

    def commit(self) -> int:
        """Commit, and return the version: the new one, or the start version when nothing was written.

        Raises:
            ConflictError: other transactions committed first; `.conflicts` lists every conflict. A CasConflictError
                if the only conflict is one compare-and-swap.
            TransactionTimeoutError: the time was up before the commit went to the log.
            TransactionAbortedError: the store restarted, or an actor failed; it is worth trying again.
            TransactionClosedError: the transaction has already ended.
            UsageError: the transaction writes too much, or writes and has read too much; it stays active.
            ReadOnlyError: the transaction has writes, and the database was opened for reading.
            DiskFullError, StoreFailedError, DatabaseClosedError: the store could not commit it.
            CommitOutcomeUnknownError: whether the commit is durable cannot be determined; see `Database.outcome`. In
                all cases above nothing was committed.
            BaseException: whatever hits this thread from outside, such as KeyboardInterrupt. The commit is withdrawn,
                or if it has gone to the log, waited for first: then `status` tells whether it is committed or aborted.
                It stays validating only if a second exception cuts the wait short.
        """
        try:
            return self.commit_and_keep()
        finally:
            if self._engine.status is not _ACTIVE:
                # The variable of a `with` block outlives the block. It must not keep old states of keys alive.
                self._engine.release()

    def commit_and_keep(self) -> int:
        """Commit as `commit` does, but keep what was read. For the package itself, which then drops the transaction."""
        engine = self._engine
        if engine.status is not _ACTIVE:
            raise TransactionClosedError(engine.status)
        if not engine.has_writes:
            return self._end_without_writes()
        if self._limit is not None:
            self.require_time()
        request = outcome = None
        try:
            request = engine.seal()
            outcome = self._client.commit(request, self._attempt, self._limit)
            version: int = outcome.version if type(outcome) is Committed else committed_version(outcome)
            engine.finish(_COMMITTED)
        except (CommitOutcomeUnknownError, UsageError):
            # Too much to commit: the status is still active. Otherwise the outcome is unknown, or this thread may not
            # wait for it, and the status stays validating.
            raise
        except InmemError:
            if outcome is None:
                # The coordinator has not received the commit.
                self._lease.end()
            engine.finish(TransactionStatus.ABORTED)
            raise
        except BaseException:
            # From outside: Ctrl-C, or an exception of a signal handler.
            self._find_out(request, outcome)
            raise
        return version

    def _find_out(self, request: CommitRequest | None, outcome: Any) -> None:
        """Give the transaction its true status after an exception from outside has hit `commit`.

        Waits if need be. If the outcome cannot be learned now, the status stays validating.
        """
        if self._engine.status is not _VALIDATING:
            return
        if request is not None and outcome is None:
            try:
                outcome = self._client.settle(request)
            except InmemError:
                return
        if type(outcome) is Committed:
            self._engine.finish(_COMMITTED)
        elif not (type(outcome) is CommitAborted and isinstance(outcome.error, CommitOutcomeUnknownError)):
            self._lease.end()
            self._engine.finish(TransactionStatus.ABORTED)

    def __enter__(self) -> Self:
        self._require_active()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if exc_type is None and self._engine.status is _ACTIVE:
                self.commit()
        finally:
            # After an exception, or a commit refused for its size, which leaves the transaction active for a retry.
            self.abort_unless_ended()


def _as_key(key: object) -> Key:
    if not isinstance(key, Key):
        raise InvalidKeyError("key", f"must be a str or an inmem.Key, not {type_name(key)}")
    key.require_form()
    return key


def _of_kv(key: object) -> Key:
    checked = _as_key(key)
    if checked.tag is not Tag.KV:
        raise InvalidKeyError("key", f"{checked} is written through its own primitive, as in txn.cells or txn.events")
    return checked
