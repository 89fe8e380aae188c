"""The database as users hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from inmem.actors.client.client import Client
from inmem.actors.client.transaction_arguments import DEFAULT_RETRY
from inmem.actors.messages.control import Recover, Refresh
from inmem.actors.messages.core import Checkpoint, Flush
from inmem.actors.messages.transactions import ReadOutcome, ReadStats
from inmem.actors.proxies.cells import StateCell
from inmem.actors.proxies.events import EventLog
from inmem.actors.proxies.kv import KVStore
from inmem.actors.proxies.runs import RunIndex
from inmem.actors.proxies.traces import TraceStore
from inmem.actors.proxies.watcher import Watcher
from inmem.engine.commits.commit_token import CommitToken
from inmem.engine.commits.transaction import TransactionStatus
from inmem.engine.errors import RunNotFoundError, UsageError
from inmem.engine.keys import Tag, normalize_run_id
from inmem.engine.noncopyable import NonCopyable
from inmem.primitives.run_contents import RunContents
from inmem.run_file import RunExport, read_run, write_run
from inmem.stats import Stats, stats_of
from inmem.verification import Verification, verify_store

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import BinaryIO, Self
    from uuid import UUID

    from inmem.actors.client.client_transaction import Transaction
    from inmem.actors.directory import Directory
    from inmem.actors.messages.transactions import CoordinatorStats
    from inmem.engine.commits.retry import RetryPolicy
    from inmem.engine.commits.transaction import IsolationName
    from inmem.primitives.change import PrimitiveName
    from inmem.primitives.kv import VersionedValue

T = TypeVar("T")


class Database(NonCopyable):
    """A handle on a running store. Use it from any thread; it stays valid when the actors behind it are replaced.

    Closing a handle from `inmem.open` stops the store; closing one from `inmem.connect` leaves it running. On a closed
    handle, everything except `close` and `path` raises DatabaseClosedError; in a forked child, it raises
    ForkedProcessError. Every method that writes may raise ReadOnlyError, DiskFullError, StoreFailedError,
    TransactionAbortedError, CommitOutcomeUnknownError, or OverloadedError if too many wait: see docs/errors.md.

    Attributes:
        kv: the KVStore.
        events: the EventLog.
        cells: the StateCells.
        traces: the TraceStore.
        runs: the RunIndex.
    """

    def __init__(self, directory: Directory, *, owner: bool) -> None:
        self._client = Client(directory)
        self._owner = owner
        self.kv = KVStore(self._client)
        self.events = EventLog(self._client)
        self.cells = StateCell(self._client)
        self.traces = TraceStore(self._client)
        self.runs = RunIndex(self._client)

    # Single operations: each is a transaction of its own.

    def put(self, run: str | UUID, key: str, value: object, ttl: float | None = None) -> int:
        """Set a key and return the commit version. The same as `db.kv.put`."""
        return self.kv.put(run, key, value, ttl)

    def get(self, run: str | UUID, key: str) -> Any:
        """Return a fresh copy of the newest committed value, or None. The same as `db.kv.get`."""
        return self.kv.get(run, key)

    def get_versioned(self, run: str | UUID, key: str) -> VersionedValue | None:
        """Return the newest committed value with its version and deadline, or None. See `db.kv.get_versioned`."""
        return self.kv.get_versioned(run, key)

    def delete(self, run: str | UUID, key: str) -> bool:
        """Delete a key and return whether it existed. The same as `db.kv.delete`."""
        return self.kv.delete(run, key)

    def cas(self, run: str | UUID, key: str, expected_version: int, value: object, ttl: float | None = None) -> int:
        """Set a key that has `expected_version` and return the commit version. The same as `db.kv.cas`."""
        return self.kv.cas(run, key, expected_version, value, ttl)

    def begin_run(
        self,
        run_id: str | UUID | None = None,
        *,
        parent: str | UUID | None = None,
        tags: Iterable[str] = (),
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Register a run and return its id, a fresh one by default. See `db.runs.create_run`."""
        return self.runs.create_run(run_id, parent=parent, tags=tags, metadata=metadata).run_id

    def end_run(self, run: str | UUID) -> None:
        """Mark a run as completed, once. See `db.runs.complete_run`.

        Raises:
            InvalidStatusTransitionError: the run is not Active, for example because it has ended already.
        """
        self.runs.complete_run(run)

    # Transactions.

    def begin(
        self, run: str | UUID, *, isolation: IsolationName = "snapshot", timeout: float | None = None
    ) -> Transaction:
        """Begin a transaction on the newest committed state. Costs the same on a store of any size.

        Args:
            run: the run that the transaction's plain keys and accessors refer to.
            isolation: "snapshot", or "serializable" to validate scans as well.
            timeout: seconds from now for the store to answer, and until `commit` refuses writes; a transaction without
                writes may commit later. With 0, this call waits as with None, and the transaction can only read.

        Raises:
            InvalidKeyError, UsageError: an argument is not acceptable.
            TransactionTimeoutError: the store did not answer in time; no transaction is left behind.
            DatabaseClosedError: the store was closed.
        """
        return self._client.begin(run, isolation=isolation, timeout=timeout)

    def transaction(
        self,
        run: str | UUID,
        fn: Callable[[Transaction], T],
        *,
        isolation: IsolationName = "snapshot",
        retry: RetryPolicy = DEFAULT_RETRY,
        timeout: float | None = None,
    ) -> T:
        """Run `fn(txn)` in this thread, commit, and return what `fn` returned.

        After a conflict `fn` runs again on a fresh snapshot, so it should have no side effects except through `txn`.

        Args:
            run: the run that the transaction's plain keys and accessors refer to.
            fn: takes the transaction. An exception from it aborts the transaction and propagates; it is never retried.
            isolation: "snapshot" or "serializable".
            retry: how often to retry, and how long to pause before each retry.
            timeout: seconds for all attempts together, also for a transaction without writes; 0 expires at once.

        Raises:
            RetriesExhaustedError: the last attempt ended in a conflict too; `.conflicts` lists its conflicts.
            TransactionTimeoutError: the time ran out; nothing was committed.
            TransactionAbortedError: the store restarted or an actor failed, in the last attempt too; nothing was
                committed, and trying again may succeed.
            UsageError: a bad argument, or the transaction writes or has read too much; nothing was committed.
            InmemError: any other error that `Transaction.commit` raises.
        """
        return self._client.transaction(run, fn, isolation=isolation, retry=retry, timeout=timeout)

    def outcome(self, token: str) -> TransactionStatus:
        """Return how the commit ended whose `CommitOutcomeUnknownError` carried `token`: committed or aborted.

        Args:
            token: from an error that this database raised, in this process or an earlier one. A token of another
                database names a transaction that is not found here, and so counts as aborted.

        Raises:
            UsageError: `token` is not a token, or is too old to be remembered.
            ReadOnlyError: opened for reading, and the commit is not visible: only the owner can tell that it aborted.
            StoreFailedError: the log cannot be read at the moment.
            DatabaseClosedError: the database is closed.
        """
        salt, transaction_id, start_version = CommitToken.parse(token)
        version, since = self._client.ask_actor(self._client.directory.coordinator, ReadOutcome(salt, transaction_id))
        if version is not None:
            return TransactionStatus.COMMITTED
        if start_version < since:
            raise UsageError(f"token: the outcome of {token} is too old to be remembered")
        return TransactionStatus.ABORTED

    def watch(
        self,
        run: str | UUID | None = None,
        primitive: PrimitiveName | None = None,
        after_version: int | None = None,
        *,
        timeout: float | None = None,
    ) -> Watcher:
        """Return an iterator over committed `Change`s, in commit order, without gaps or repetitions.

        It starts at the call. Commits never wait for a watcher: the store retains the newest commits, up to
        `RETAINED_BYTES_MAX`, and a watcher that is farther behind gets a `WatchLaggedError`.

        Args:
            run: only changes in this run.
            primitive: "kv", "events", "cells", "traces" or "runs": only changes in this primitive. The deletion of a
                whole run is reported in any case.
            after_version: start after this version, as far as its successors are retained: the `Watcher.version` of an
                earlier watcher, also from an earlier process, or the `Database.version` from before the state was
                read. None starts after the newest commit.
            timeout: seconds to wait for the next change before the iteration ends; None waits without limit.

        Raises:
            WatchGapError: changes after `after_version` are not retained; read the state, and watch from there.
            UsageError, InvalidKeyError: an argument is not acceptable.
        """
        return Watcher(self._client, run, primitive, after_version, timeout)

    # The store as a whole.

    @property
    def version(self) -> int:
        """The version of the newest commit."""
        return self._client.snapshot().version

    @property
    def directory(self) -> Directory:
        """The actors of the running store, for other parts of the package. Programs do not need it; it may change.

        Raises:
            DatabaseClosedError: this handle was closed.
        """
        self._client.require_handle()
        return self._client.directory

    @property
    def path(self) -> str:
        """The database's folder, or ":memory:"."""
        return self._client.directory.path

    def flush(self) -> None:
        """Wait until everything committed so far is durable, in any durability mode.

        Raises:
            StorageError: the commits could not be made durable.
            StoreFailedError: the store stopped writing.
            ReadOnlyError: the database was opened for reading.
            DatabaseClosedError: the database is closed.
        """
        self._client.ask_actor(self._client.directory.writer, Flush())

    def checkpoint(self) -> int:
        """Write the state to a checkpoint while commits go on, remove the log before it, and return its version.

        A store in memory writes nothing and returns its version.

        Raises:
            StorageError: the checkpoint could not be written, or not all that it replaces could be removed. Nothing is
                lost; the checkpoint may exist already, and superfluous files may be left.
            StoreFailedError: the store stopped writing.
            ReadOnlyError: the database was opened for reading.
            DatabaseClosedError: the database is closed.
        """
        version: int = self._client.ask_actor(self._client.directory.writer, Checkpoint())
        return version

    def recover(self) -> None:
        """Rebuild the store from its log now. Call this to repair a store that raises `StoreFailedError`.

        Raises:
            StoreFailedError: the store still cannot be made durable; reads go on.
            ReadOnlyError: the database was opened for reading.
            DatabaseClosedError: the database is closed.
        """
        self._client.ask_actor(self._client.directory.supervisor, Recover())

    def refresh(self) -> int:
        """Show what the owner has committed since opening or since the last refresh; return the newest version.

        For a database opened with `read_only=True`. Running transactions and values already read do not change. An
        owner's handle always shows the newest state, so there this only returns the version.

        Raises:
            CorruptionError: acknowledged data is damaged; this handle continues to show the previous state.

        Complexity: O(what was committed since). If one of the owner's checkpoints has removed the log that was read
        last, O(the whole database), as for opening.
        """
        version: int = self._client.ask_actor(self._client.directory.supervisor, Refresh())
        return version

    def stats(self) -> Stats:
        """Return counters and the state of queues and transactions. O(tables + waiting messages).

        Raises:
            DatabaseClosedError: the database is closed.
        """
        counted: CoordinatorStats = self._client.ask_actor(self._client.directory.coordinator, ReadStats())
        return stats_of(self._client, counted)

    def unregistered_runs(self) -> list[str]:
        """Return the ids of the runs that hold data but are not registered, sorted.

        Complexity: O(tables), unlike any query, and O(1) per expired key that no live key of its run follows.
        """
        reader = self._client.reader()
        snapshot = reader.snapshot
        holding = {
            run
            for run, tag, table in snapshot.tables()
            if tag < Tag.RUN
            and table.live_count
            and snapshot.table(run, Tag.RUN) is None
            # Expired keys count as live entries until the reaper turns them into tombstones.
            and (tag != Tag.KV or reader.view(run, tag).last() is not None)
        }
        return sorted(holding)

    def verify(self) -> Verification:
        """Read every file and record, and check every table, chain and parent. O(everything), while commits go on.

        Raises:
            StorageError: a file cannot be read or has an unknown format. Damage is reported in the result, not raised.
        """
        return verify_store(self._client)

    def export_run(
        self,
        run: str | UUID,
        file: str | os.PathLike[str] | BinaryIO,
        *,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> RunExport:
        """Write everything that a run holds now to a file from which `import_run` creates the same run again.

        The same contents give the same bytes, see docs/export-format.md. If `file` is a path, a file that exists there
        stays in place until the new one is complete, and the new one gets its permissions; otherwise only the owner
        may access the new file. It is durable when this returns. A symbolic link is kept, and its target is written.

        Args:
            run: registered or not.
            file: a path, or a file open for writing bytes.
            on_progress: called now and then with the number of items written and the total number of items.

        Raises:
            RunNotFoundError: the run is not registered and holds nothing.
            UsageError: `file` is neither a path nor a file open for writing bytes, or `on_progress` is not callable.
            StorageError: the run has traces whose parent is lost, so no import could succeed; `verify` names them.
            OSError: the file cannot be written or made durable.

        Complexity: O(contents) in time, one item in memory.
        """
        run_id = normalize_run_id(run)
        contents = RunContents(self._client.reader(), run_id)
        if contents.is_empty():
            raise RunNotFoundError(run_id)
        return write_run(run_id, contents, file, on_progress)

    def import_run(
        self, file: str | os.PathLike[str] | BinaryIO, *, on_progress: Callable[[int, int], None] | None = None
    ) -> RunExport:
        """Import the run that `export_run` wrote to a file, in one commit: all of it or nothing.

        Every line is checked against its hash before anything is written, and every event against its chain. Times,
        event hashes and cell versions are those of the file; keys get the version of the commit.

        Args:
            file: a path, or a file open for reading bytes.
            on_progress: called now and then with the number of steps done and the total number of steps.

        Raises:
            RunExistsError: the run is registered here, or holds something.
            RunFileError: the file is not as it was written; the error names the line.
            FormatVersionError: the file is not an exported run, or a newer version wrote it.
            InvalidValueError: a value is larger than this store accepts; the error names the line and the limit.
            UsageError: the run is too large for one transaction, or an argument is not of an accepted type.
            OSError: the file cannot be read.

        Complexity: O(contents), in time and in memory.
        """
        found = read_run(file, on_progress)
        found.put_into(self)
        return found.export

    def close(self) -> None:
        """Finish the work in progress, make it durable and stop the store. Does nothing if the store is closed.

        If another thread is already closing the store, this call waits for it and raises the same error. A handle from
        `inmem.connect` only becomes unusable; the store keeps running.

        Raises:
            StorageError: commits that a weaker durability mode had acknowledged could not be made durable, or only the
                mark of a clean close could not be written; the message says which.
        """
        self._client.close()
        try:
            if self._owner and not self._client.is_disowned:
                self._client.close_store()
        finally:
            self._client.end_watching()

    def __enter__(self) -> Self:
        self._client.require_store()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<inmem.Database {self.path!r}{self._client.state}>"
