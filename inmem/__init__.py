"""inmem: an embedded, crash-safe, transactional store for agent runs, built from actors.

    import inmem

    with inmem.open("agent.db") as db:  # a folder, created if missing
        run = db.begin_run(tags=["travel"])

        def search(txn):  # runs again if others commit to what it has read
            txn.put("goal", {"fly to": "OSL", "budget": 250})
            txn.cells.init("phase", "searching")
            txn.events.append("user_message", {"text": "a window seat, please"})

        db.transaction(run, search)  # one commit: all of it, or nothing
        print(db.get(run, "goal"), db.events.len(run))
        db.end_run(run)

Everything belongs to a run. A `Database` has five primitives, and so has a `Transaction`, which belongs to one run, so
that all but `txn.runs` leave out its id:

    db.kv      KVStore     named values: memory; `db.put`, `db.get` and `db.delete` are short for its methods
    db.events  EventLog    what happened, in order, each event with the hash of the one before
    db.cells   StateCell   current states, each with a version to compare and swap
    db.traces  TraceStore  tool calls, decisions and thoughts, as a forest
    db.runs    RunIndex    the list of runs, with status, tags and times

`db.transaction` retries a function after a conflict, `db.begin` is a `with` block without retries, and `db.watch`
follows the commits. `inmem.spawn` starts the store as an actor for pykka programs, `inmem.aio` has the same names as
coroutines, and `inmem.simulation` tests your own agents. Every error of the store is an `InmemError`.

The clone's README.md begins with three programs and lists the pages in docs/: begin with docs/tutorial.md.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from inmem import messages
from inmem.actors.client.client_transaction import BaseTransaction, Transaction
from inmem.actors.dispatch.mailbox import MailboxRef
from inmem.actors.environment import SystemEntropy
from inmem.actors.messages.control import Connect
from inmem.actors.options import DispatcherName, Options
from inmem.actors.proxies.cells import StateCell
from inmem.actors.proxies.events import EventLog
from inmem.actors.proxies.kv import KVStore
from inmem.actors.proxies.runs import RunIndex
from inmem.actors.proxies.traces import TraceStore
from inmem.actors.proxies.watcher import Watcher
from inmem.actors.system import give_back, start_store
from inmem.database import Database
from inmem.engine.commits.conflicts import CasConflict, Conflict, ReadConflict, ScanConflict, WriteConflict
from inmem.engine.commits.retry import RetryPolicy
from inmem.engine.commits.transaction import Isolation, IsolationName, TransactionStatus
from inmem.engine.errors import (
    CasConflictError,
    CellExistsError,
    CellNotFoundError,
    CommitOutcomeUnknownError,
    ConflictError,
    CorruptionError,
    DatabaseClosedError,
    DatabaseLockedError,
    DatabaseNotFoundError,
    DiskFullError,
    ExistsError,
    ForkedProcessError,
    FormatVersionError,
    InmemError,
    InvalidKeyError,
    InvalidStatusTransitionError,
    InvalidValueError,
    InvariantError,
    NotFoundError,
    OverloadedError,
    ReadOnlyError,
    RetriesExhaustedError,
    RunExistsError,
    RunFileError,
    RunNotFoundError,
    StorageError,
    StoreFailedError,
    TraceExistsError,
    TraceNotFoundError,
    TransactionAbortedError,
    TransactionClosedError,
    TransactionError,
    TransactionTimeoutError,
    UnfinishedSalvageError,
    UsageError,
    WatchGapError,
    WatchLaggedError,
)
from inmem.engine.ids import time_ordered_id
from inmem.engine.keys import Key
from inmem.engine.limits import DEFAULT_LIMITS, Limits
from inmem.engine.log.group_commit import DurabilityName
from inmem.engine.shown import shown
from inmem.primitives.cells import State
from inmem.primitives.change import Change, ChangeKind, PrimitiveName
from inmem.primitives.event_chain import ChainVerification
from inmem.primitives.events import Event
from inmem.primitives.kv import VersionedValue
from inmem.primitives.run_status import RunStatus, RunStatusName
from inmem.primitives.runs import RunMetadata, RunStats
from inmem.primitives.trace_kinds import Custom, Decision, ErrorTrace, Query, Thought, ToolCall
from inmem.primitives.trace_tree import TraceTree
from inmem.primitives.traces import Trace
from inmem.run_file import RunExport
from inmem.salvaging import SalvageReport, salvage
from inmem.stats import Stats
from inmem.verification import Verification

_entropy = SystemEntropy()

_PACKAGES = ("aio", "integrations", "otlp", "simulation", "ui")

if TYPE_CHECKING:
    import os

    import pykka

    from inmem import aio as aio
    from inmem import integrations as integrations
    from inmem import otlp as otlp
    from inmem import simulation as simulation
    from inmem import ui as ui
    from inmem.actors.directory import Directory

__version__ = "0.1.0"


def open(  # noqa: A001  (as in sqlite3, dbm, shelve)
    path: str | os.PathLike[str],
    *,
    durability: DurabilityName = "always",
    sync_interval: float = 0.1,
    shards: int = 1,
    dispatcher: DispatcherName = "caller",
    read_only: bool = False,
    create: bool = True,
    limits: Limits = DEFAULT_LIMITS,
) -> Database:
    """Open a database, recover it if necessary, and return a handle. Closing the handle closes the database.

    Args:
        path: the database's folder, created if it is missing; ":memory:" for a database without files.
        durability: when a commit is acknowledged. "always": when it is durable. "interval": when it is written; it
            becomes durable within `sync_interval`. "never": when it is written; the operating system decides when it
            becomes durable.
        sync_interval: seconds between syncs in the "interval" mode.
        shards: number of storage shards. It changes only which actors do the work.
        dispatcher: "caller": threads that wait for a reply run the actors. "threads": every actor has its own thread.
        read_only: read the state as of opening, and as of each `refresh`.
        create: whether to create a missing database.
        limits: limits on what may be written and on how much may wait.

    Raises:
        DatabaseLockedError: another opener, in this process or another, owns the database.
        DatabaseNotFoundError: the database does not exist, and `create` is False or `read_only` is True.
        CorruptionError: acknowledged data is damaged; nothing was changed.
        FormatVersionError: `path` is not a database, or a newer version wrote it.
        ReadOnlyError: the database can only be opened with `read_only`.
        UnfinishedSalvageError: an interrupted salvage left this folder.
        StorageError: the operating system refused an operation; nothing is left running.
        UsageError: an option is not acceptable.
    """
    ref = _store_ref(
        spawn(
            path,
            durability=durability,
            sync_interval=sync_interval,
            shards=shards,
            dispatcher=dispatcher,
            read_only=read_only,
            create=create,
            limits=limits,
        )
    )
    try:
        return Database(_directory(ref), owner=True)
    except BaseException:
        # Ctrl-C, for example: the caller never gets a handle with which to close the store.
        give_back(ref)
        raise


def spawn(
    path: str | os.PathLike[str],
    *,
    durability: DurabilityName = "always",
    sync_interval: float = 0.1,
    shards: int = 1,
    dispatcher: DispatcherName = "caller",
    read_only: bool = False,
    create: bool = True,
    limits: Limits = DEFAULT_LIMITS,
) -> pykka.ActorRef[Any]:
    """Open a database as part of an actor system and return its supervisor's ref.

    Any actor may `ask` or `tell` the ref the requests in `inmem.messages`. The ref survives restarts of the actors
    below it. `ref.stop()` and `pykka.ActorRegistry.stop_all()` close the database cleanly.

    Args:
        path: the database's folder, created if it is missing; ":memory:" for a database without files.
        durability: when a commit is acknowledged. "always": when it is durable. "interval": when it is written; it
            becomes durable within `sync_interval`. "never": when it is written; the operating system decides when it
            becomes durable.
        sync_interval: seconds between syncs in the "interval" mode.
        shards: number of storage shards. It changes only which actors do the work.
        dispatcher: "caller": threads that wait for a reply run the actors. "threads": every actor has its own thread.
        read_only: read the state as of opening, and as of each `refresh`, without owning the database or disturbing
            its owner.
        create: whether to create a missing database.
        limits: limits on what may be written and on how much may wait. Data written under other limits stays readable.

    Raises:
        StorageError, UsageError: as for `open`.
    """
    options = Options.checked(
        path,
        durability=durability,
        sync_interval=sync_interval,
        shards=shards,
        dispatcher=dispatcher,
        read_only=read_only,
        create=create,
        limits=limits,
    )
    return start_store(options)


def connect(ref: pykka.ActorRef[Any] | Database) -> Database:
    """Return a handle on a store that is already open. Closing the handle leaves the store running.

    Args:
        ref: a ref that `spawn` returned, or a handle on the store, such as a test of an actor in a simulation has.

    Raises:
        pykka.ActorDeadError: the store was stopped.
        DatabaseClosedError: the handle was closed.
        UsageError: `ref` is neither a store's ref nor a handle.
    """
    if isinstance(ref, Database):
        return Database(ref.directory, owner=False)
    return Database(_directory(_store_ref(ref)), owner=False)


def _store_ref(ref: pykka.ActorRef[Any]) -> MailboxRef:
    if not isinstance(ref, MailboxRef):
        raise UsageError(f"ref: must be what inmem.spawn has returned, or an inmem.Database, not {shown(ref)}")
    return ref


def _directory(ref: MailboxRef) -> Directory:
    directory: Directory = ref.ask(Connect(), block=True)
    return directory


if not TYPE_CHECKING:  # Type checkers see the imports above; with this function they would accept any name.

    def __getattr__(name: str) -> Any:
        """Import a subpackage on first use: most programs need none, and eager imports would slow down all of them."""
        if name in _PACKAGES:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # `help(inmem)` imports every name listed here, and the packages that `ui` needs may not be installed.
    return sorted({*__all__, *_PACKAGES, "__version__"} - {"ui"})


def new_run_id() -> str:
    """Return a fresh run id. Ids created later sort later."""
    return time_ordered_id(time.time_ns() // 1000, _entropy)


__all__ = [
    "BaseTransaction",
    "CasConflict",
    "CasConflictError",
    "CellExistsError",
    "CellNotFoundError",
    "ChainVerification",
    "Change",
    "ChangeKind",
    "CommitOutcomeUnknownError",
    "Conflict",
    "ConflictError",
    "CorruptionError",
    "Custom",
    "Database",
    "DatabaseClosedError",
    "DatabaseLockedError",
    "DatabaseNotFoundError",
    "Decision",
    "DiskFullError",
    "DispatcherName",
    "DurabilityName",
    "ErrorTrace",
    "Event",
    "EventLog",
    "ExistsError",
    "ForkedProcessError",
    "FormatVersionError",
    "InmemError",
    "InvalidKeyError",
    "InvalidStatusTransitionError",
    "InvalidValueError",
    "InvariantError",
    "Isolation",
    "IsolationName",
    "KVStore",
    "Key",
    "Limits",
    "NotFoundError",
    "OverloadedError",
    "PrimitiveName",
    "Query",
    "ReadConflict",
    "ReadOnlyError",
    "RetriesExhaustedError",
    "RetryPolicy",
    "RunExistsError",
    "RunExport",
    "RunFileError",
    "RunIndex",
    "RunMetadata",
    "RunNotFoundError",
    "RunStats",
    "RunStatus",
    "RunStatusName",
    "SalvageReport",
    "ScanConflict",
    "State",
    "StateCell",
    "Stats",
    "StorageError",
    "StoreFailedError",
    "Thought",
    "ToolCall",
    "Trace",
    "TraceExistsError",
    "TraceNotFoundError",
    "TraceStore",
    "TraceTree",
    "Transaction",
    "TransactionAbortedError",
    "TransactionClosedError",
    "TransactionError",
    "TransactionStatus",
    "TransactionTimeoutError",
    "UnfinishedSalvageError",
    "UsageError",
    "Verification",
    "VersionedValue",
    "WatchGapError",
    "WatchLaggedError",
    "Watcher",
    "WriteConflict",
    "connect",
    "messages",
    "new_run_id",
    "open",
    "salvage",
    "spawn",
]
