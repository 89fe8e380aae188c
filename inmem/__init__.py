"""inmem: an embedded, crash-safe, transactional store for agent runs, made of actors.

Start with `inmem.open`. The README shows the rest in three short programs.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from inmem import messages
from inmem.actors.client.client_transaction import BaseTransaction
from inmem.actors.client.client_transaction import ClientTransaction as Transaction
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
    """Open a database, recovering it if need be, and return a handle. Closing the handle closes the database.

    Args:
        path: the database's folder, made if it is missing; ":memory:" for one without files.
        durability: "always": a commit is acknowledged when it is durable. "interval": when it is written; it is
            made durable within `sync_interval`. "never": when it is written; the operating system decides.
        sync_interval: seconds.
        shards: storage shards; more of them change nothing but who does the work.
        dispatcher: "caller": threads that wait run the actors. "threads": every actor has a thread.
        read_only: look at the state as of opening, and of each `refresh`.
        create: whether to make a missing database.
        limits: of what may be written and what may wait.

    Raises:
        DatabaseLockedError: somebody has it open.
        DatabaseNotFoundError: there is none, and `create` is False or `read_only` True.
        CorruptionError: acknowledged data is damaged; nothing was changed.
        FormatVersionError: not a database, or one written by a newer version.
        ReadOnlyError: it can only be opened with `read_only`.
        UnfinishedSalvageError: it is what a salvage that was interrupted has left.
        StorageError: the operating system refuses; nothing is left running.
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
        # Somebody pressed Ctrl-C: nobody will have the handle that closes it.
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

    Any actor may `ask` and `tell` the ref what `inmem.messages` holds; the ref survives restarts of the actors
    below. `ref.stop()` and `pykka.ActorRegistry.stop_all()` close the database cleanly.

    Args:
        path: the database's folder, made if it is missing; ":memory:" for one without files.
        durability: "always": a commit is acknowledged when it is durable. "interval": when it is written; it is
            made durable within `sync_interval`. "never": when it is written; the operating system decides.
        sync_interval: seconds.
        shards: storage shards; more of them change nothing but who does the work.
        dispatcher: "caller": threads that wait run the actors. "threads": every actor has a thread.
        read_only: look at the state as of opening, and of each `refresh`, without owning the database or disturbing
            its owner.
        create: whether to make a missing database.
        limits: of what may be written and what may wait. What was written under others can be read.

    Raises:
        StorageError, UsageError: as `open`.
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
    """Return a handle on a store that is open already. Closing the handle leaves the store running.

    Args:
        ref: what `spawn` has returned, or a handle on the store, as whoever tests an actor has in a simulation.

    Raises:
        pykka.ActorDeadError: the store was stopped.
        DatabaseClosedError: the handle was closed.
        UsageError: neither the ref of a store nor a handle.
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


if not TYPE_CHECKING:  # To type checkers, who know the packages from above, this would make any name one of ours.

    def __getattr__(name: str) -> Any:
        """Import a package of this one at its first use: most programs need none of them, and all would pay."""
        if name in _PACKAGES:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # Without `ui`, which `help(inmem)` would import: it may not be there.
    return sorted({*__all__, *_PACKAGES, "__version__"} - {"ui"})


def new_run_id() -> str:
    """Return a fresh run id; ids made later sort later."""
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
