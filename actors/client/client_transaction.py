"""A transaction as users hold it: the engine's transaction with the primitives on top and the coordinator behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from inmem.actors.client.commit_outcome import committed_version
from inmem.actors.client.run_access import RunAccess
from inmem.actors.messages.transactions import Committed
from inmem.engine.commits.transaction import TransactionStatus
from inmem.engine.errors import (
    CommitOutcomeUnknownError,
    InmemError,
    InvalidKeyError,
    TransactionClosedError,
    TransactionTimeoutError,
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
_COMMITTED: Final = TransactionStatus.COMMITTED


class BaseTransaction(RunAccess):
    """What can be done inside a transaction, whoever commits it: nothing of this ever waits.

    Reads come from the snapshot of its beginning; writes are kept until the commit. Annotate with this type a function
    that is to work with both `Database.transaction` and that of `inmem.aio`. Not for sharing among threads.

    Every read and write raises TransactionClosedError once it has ended, DatabaseClosedError once the store is closed,
    and InvalidKeyError, InvalidValueError or UsageError for an argument that is not acceptable, changing nothing.

    Attributes:
        run_id: the run that plain keys and the accessors mean.
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
        """Unique while the database is open, and greater than that of every commit before."""
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
        """Return what is under `key`, or None.

        A str is a KVStore key of this transaction's run. A `Key` of another kind reads what its primitive would
        return: an Event, a State, a Trace, a RunMetadata.
        """
        if type(key) is str:
            kv = self._kv
            if kv is None:
                return self.kv.get(key)
            self._client.require_store()
            return kv.get(key)
        return self._read(_as_key(key))

    def get_versioned(self, key: str | Key) -> VersionedValue | None:
        """Return what is under `key` with the version that `cas` has to expect, or None.

        Of a key that was written here, that is the committed version underneath, 0 if there has never been one.
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
        """Delete a KVStore key; return whether it existed. Deleting what does not exist writes nothing."""
        if type(key) is str:
            return self.kv.delete(key)
        checked = _of_kv(key)
        return self._kv_of(checked).delete(checked.user_key.decode())

    def cas(self, key: str | Key, expected_version: int, value: object, ttl: float | None = None) -> None:
        """Set a KVStore key, provided that at commit it has `expected_version`; 0 means "has never existed".

        Whether it has shows at the commit only, as a CasConflict; until then it reads as set.
        """
        if type(key) is str:
            self.kv.cas(key, expected_version, value, ttl)
        else:
            checked = _of_kv(key)
            self._kv_of(checked).cas(checked.user_key.decode(), expected_version, value, ttl)

    def scan(self, prefix: str | Key = "") -> Iterator[tuple[Any, Any]]:
        """Iterate over (key, value) in key order, with the writes that were made here before the call.

        A str prefix yields str keys of this run's KVStore. A `Key.kv`, `Key.state` or `Key.trace` yields `Key`s of its
        own run and primitive, with what `get` returns for them.

        Raises:
            InvalidKeyError: it is none of these: a sequence or a run id is no prefix, see `txn.events` and `txn.runs`.
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
        # A cell that was deleted keeps its entry.
        return ((key, value) for key, value in found if value is not None)

    def abort(self) -> None:
        """Give everything up.

        Raises:
            TransactionClosedError: it had ended before, or nobody knows how its commit ended.
        """
        self._require_active()
        self._engine.finish(TransactionStatus.ABORTED)
        self._lease.end()

    def require_time(self) -> None:
        """Go on only if there is time left for the commit. For the package itself; programs do not need it.

        Raises:
            TransactionTimeoutError: no time is left; the transaction is aborted.
        """
        limit = self._limit
        if limit is not None and not limit.remaining_s(self._client.monotonic_s()):
            self.abort()
            raise TransactionTimeoutError(limit.timeout_s)

    def abort_unless_ended(self) -> None:
        """Give everything up that has not been committed or given up. For the package itself; programs use `abort`."""
        if self._engine.status is _ACTIVE:
            self.abort()

    def __repr__(self) -> str:
        return f"<Transaction {self.id} of run {self.run_id!r}, {self.status}>"

    def _require_active(self) -> None:
        if self._engine.status is not _ACTIVE:
            raise TransactionClosedError(self._engine.status)

    def _end_without_writes(self) -> int:
        """Commit what has nothing to commit, and return the version of the snapshot: there is nobody to ask."""
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


class ClientTransaction(BaseTransaction):
    """One transaction of one client. Not for sharing among threads.

    Reads come from the snapshot of its beginning and never wait; writes are kept until `commit`. As a context manager
    it commits on a clean exit and aborts when an exception passes through.

    Attributes:
        run_id: the run that plain keys and the accessors mean.
    """

    __slots__ = ()

    def commit(self) -> int:
        """Commit, and return the version: the new one, or the start version when nothing was written.

        Raises:
            ConflictError: others committed first; `.conflicts` lists everything. A CasConflictError if the only
                conflict is one compare-and-swap.
            TransactionTimeoutError: the time was up before the commit had gone to the log.
            TransactionAbortedError: the store restarted meanwhile, or an actor failed; it is worth trying again.
            TransactionClosedError: the transaction had ended before.
            UsageError: it writes too much, or writes and has read too much; it stays active.
            ReadOnlyError: it has writes, and the database was opened for reading.
            DiskFullError, StoreFailedError, DatabaseClosedError: the store could not take it.
            CommitOutcomeUnknownError: nobody can tell whether it is durable; see `Database.outcome`. In all other
                cases nothing was committed.
        """
        engine = self._engine
        if engine.status is not _ACTIVE:
            raise TransactionClosedError(engine.status)
        if not engine.has_writes:
            return self._end_without_writes()
        if self._limit is not None:
            self.require_time()
        request = engine.seal()
        outcome: Any = None
        try:
            outcome = self._client.commit(request, self._attempt, self._limit)
            version: int = outcome.version if outcome.__class__ is Committed else committed_version(outcome)
        except CommitOutcomeUnknownError:
            # Neither committed nor aborted: it stays what it is, validating.
            raise
        except Exception:
            if outcome is None:
                # The coordinator may not have heard of it.
                self._lease.end()
            engine.finish(TransactionStatus.ABORTED)
            raise
        engine.finish(_COMMITTED)
        return version

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
            # After an exception; or a commit that was refused for its size, which could be mended and tried again.
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
