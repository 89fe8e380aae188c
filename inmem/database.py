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

    from inmem.actors.client.client_transaction import ClientTransaction
    from inmem.actors.directory import Directory
    from inmem.actors.messages.transactions import CoordinatorStats
    from inmem.engine.commits.retry import RetryPolicy
    from inmem.engine.commits.transaction import IsolationName
    from inmem.primitives.change import PrimitiveName
    from inmem.primitives.kv import VersionedValue

T = TypeVar("T")


class Database(NonCopyable):
    """A handle on a running store. Use it from any thread; it stays good when the actors behind it are replaced.

    Made by `inmem.open`, which also starts the store and whose `close` stops it, or by `inmem.connect`, whose
    `close` only lets go of this handle. Once it is closed, all but `close` and `path` raise DatabaseClosedError, in
    a forked child ForkedProcessError. Whatever writes may raise ReadOnlyError, DiskFullError, StoreFailedError,
    TransactionAbortedError, CommitOutcomeUnknownError and, of many requests, OverloadedError: see docs/errors.md.

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
        """Mark a run as completed. See `db.runs.complete_run`."""
        self.runs.complete_run(run)

    # Transactions.

    def begin(
        self, run: str | UUID, *, isolation: IsolationName = "snapshot", timeout: float | None = None
    ) -> ClientTransaction:
        """Begin a transaction on the newest committed state. Costs the same on a store of any size.

        Args:
            run: what plain keys and accessors of the transaction mean.
            isolation: "snapshot", or "serializable" to have scans validated as well.
            timeout: seconds from now, for the store to answer and until `commit` refuses writes: a transaction without
                any commits later, too. 0 waits for the store as None does, and begins one that can only look.

        Raises:
            InvalidKeyError, UsageError: an argument is not acceptable.
            TransactionTimeoutError: the store has not answered in time; no transaction is left behind.
            DatabaseClosedError: the store was closed.
        """
        return self._client.begin(run, isolation=isolation, timeout=timeout)

    def transaction(
        self,
        run: str | UUID,
        fn: Callable[[ClientTransaction], T],
        *,
        isolation: IsolationName = "snapshot",
        retry: RetryPolicy = DEFAULT_RETRY,
        timeout: float | None = None,
    ) -> T:
        """Run `fn(txn)` in this thread, commit, and return what `fn` returned.

        After a conflict `fn` is run again on a fresh snapshot, so it should have no effects but through `txn`.

        Args:
            run: what plain keys and accessors of the transaction mean.
            fn: takes the transaction. What it raises aborts the transaction and is passed on, never retried.
            isolation: "snapshot" or "serializable".
            retry: how often and after what pauses.
            timeout: seconds for all attempts together, also of a transaction without writes; 0 is over at once.

        Raises:
            RetriesExhaustedError: the last attempt met a conflict too; `.conflicts` lists its conflicts.
            TransactionTimeoutError: the time was up; nothing was committed.
            TransactionAbortedError: the store restarted meanwhile, or an actor failed, at the last attempt too; nothing
                was committed, and it is worth trying again.
            UsageError: an argument is not acceptable, or the transaction writes or has read too much; nothing was
                committed.
            InmemError: any other that `Transaction.commit` raises.
        """
        return self._client.transaction(run, fn, isolation=isolation, retry=retry, timeout=timeout)

    def outcome(self, token: str) -> TransactionStatus:
        """Tell how a commit ended whose `CommitOutcomeUnknownError` carried `token`: committed or aborted.

        Args:
            token: of an error that this database raised, in this process or an earlier one. A database takes a
                transaction of another one for one that is not there, and so for aborted.

        Raises:
            UsageError: not a token, or one too old to be remembered.
            ReadOnlyError: opened for reading, and not seen to be committed: only the owner can tell that it was not.
            StoreFailedError: the log cannot be read at the moment.
            DatabaseClosedError: it is closed.
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
        """Follow what is committed: an iterator of `Change`s, in commit order, without gap or repetition.

        It begins at the call. Nobody who commits waits for it: the store retains the newest commits
        (`RETAINED_BYTES_MAX`), and whoever is farther behind than that learns of it.

        Args:
            run: only what happens in this run.
            primitive: "kv", "events", "cells", "traces" or "runs": only what happens there. The end of a whole run is
                told in any case.
            after_version: begin with what came after this version, as far as it is retained: `Watcher.version` of
                an earlier watcher, also of an earlier process, or `Database.version` from before the state was read.
                None begins with what comes after the newest commit.
            timeout: seconds to wait for the next change before the iteration ends; None waits for as long as it takes.

        Raises:
            WatchGapError: what came after `after_version` is not retained; look at the state, and watch from there.
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
        """Return when everything committed so far is durable, whatever the durability mode.

        Raises:
            StorageError: it could not be made durable.
            StoreFailedError: the store stopped writing.
            ReadOnlyError: it was opened for reading.
            DatabaseClosedError: it is closed.
        """
        self._client.ask_actor(self._client.directory.writer, Flush())

    def checkpoint(self) -> int:
        """Write the state to a checkpoint, beside the commits, and remove the log before it; return its version.

        A store in memory has nothing to write, and returns its version.

        Raises:
            StorageError: it could not be written, or not all that it replaces could be removed. Nothing is lost; the
                checkpoint may be there already, and files that are superfluous may be left.
            StoreFailedError: the store stopped writing.
            ReadOnlyError: it was opened for reading.
            DatabaseClosedError: it is closed.
        """
        version: int = self._client.ask_actor(self._client.directory.writer, Checkpoint())
        return version

    def recover(self) -> None:
        """Rebuild the store from its log now: the way back for one that answers `StoreFailedError`.

        Raises:
            StoreFailedError: it still cannot be made durable; reads go on.
            ReadOnlyError: it was opened for reading.
            DatabaseClosedError: it is closed.
        """
        self._client.ask_actor(self._client.directory.supervisor, Recover())

    def refresh(self) -> int:
        """Show what the owner has committed since the opening, or since the last refresh; return the newest version.

        For a database that was opened with `read_only=True`. Transactions that run, and what was read, stay as they
        are. The handle of an owner always shows the newest state, so there this only returns the version.

        Raises:
            CorruptionError: acknowledged data is damaged; this handle goes on showing what it did.

        Complexity: O(what was committed since). When a checkpoint of the owner's has removed the log that was read
        last, O(the whole database), as opening it.
        """
        version: int = self._client.ask_actor(self._client.directory.supervisor, Refresh())
        return version

    def stats(self) -> Stats:
        """Return counters and the state of queues and transactions. O(tables + messages that wait).

        Raises:
            DatabaseClosedError: it is closed.
        """
        counted: CoordinatorStats = self._client.ask_actor(self._client.directory.coordinator, ReadStats())
        return stats_of(self._client, counted)

    def unregistered_runs(self) -> list[str]:
        """Return the ids of the runs that hold data and are not registered, sorted.

        Complexity: O(tables), unlike any query, and O(1) per expired key behind which there is no other.
        """
        reader = self._client.reader()
        snapshot = reader.snapshot
        holding = {
            run
            for run, tag, table in snapshot.tables()
            if tag < Tag.RUN
            and table.live_count
            and snapshot.table(run, Tag.RUN) is None
            # Those that have expired count as live entries until the reaper comes.
            and (tag != Tag.KV or reader.view(run, tag).last() is not None)
        }
        return sorted(holding)

    def verify(self) -> Verification:
        """Read every file and record, check every table, chain and parent. O(everything), while commits go on.

        Raises:
            StorageError: a file cannot be read, or is of a format that is not known here. Damage is told, not raised.
        """
        return verify_store(self._client)

    def export_run(
        self,
        run: str | UUID,
        file: str | os.PathLike[str] | BinaryIO,
        *,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> RunExport:
        """Write all that a run holds, as of now, to a file from which `import_run` makes the same run again.

        The same contents give the same bytes, see docs/export-format.md. A path has its older file until the new one is
        whole, which is its owner's only and durable when this returns; a symbolic link stays, its target is written.

        Args:
            run: registered or not.
            file: a path, or a file open for writing bytes.
            on_progress: called now and then with the number of items written and that of all items.

        Raises:
            RunNotFoundError: the run is not registered and holds nothing.
            UsageError: `file` is neither of the two, or `on_progress` is no function.
            StorageError: the run has traces whose parent is lost, so that nobody could import it; `verify` names them.
            OSError: the file cannot be written, or not be made durable.

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
        """Put the run that `export_run` wrote to a file into this database, in one commit, or refuse all of it.

        Every line is checked against its hash before anything is written, and every event against its chain. Times,
        event hashes and versions of cells are those of the file; keys get the version of the commit.

        Args:
            file: a path, or a file open for reading bytes.
            on_progress: called now and then with the number of steps done and that of all steps.

        Raises:
            RunExistsError: the run is registered here, or holds something.
            RunFileError: the file is not as it was written; the error names the line.
            FormatVersionError: it is no exported run, or one of a newer version.
            InvalidValueError: a value is larger than this store accepts; the error names the line and the limit.
            UsageError: the run is larger than a transaction may be, or an argument is not what it has to be.
            OSError: the file cannot be read.

        Complexity: O(contents), in time and in memory.
        """
        found = read_run(file, on_progress)
        found.put_into(self)
        return found.export

    def close(self) -> None:
        """Finish what is under way, make it durable and stop the store; a no-op on a store that is closed.

        Whoever closes while another thread does so waits for the same end, and gets the same error. A handle from
        `inmem.connect` only becomes unusable; the store goes on.

        Raises:
            StorageError: what weaker durability modes had acknowledged could not be made durable, or only the mark of
                a clean close; the message says which.
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
