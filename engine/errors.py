"""All errors that the store raises, in one class hierarchy.

Each error carries its facts as attributes, so that a program can use them without parsing text. Its `retryable`
attribute says whether repeating the same work unchanged can succeed.
"""

from __future__ import annotations

import copy
import copyreg
from typing import TYPE_CHECKING, Any, ClassVar, Self

from inmem.engine.shown import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inmem.engine.commits.conflicts import Conflict


class InmemError(Exception):
    """The base class of all errors that the store raises on purpose, except for the few listed in docs/errors.md."""

    retryable: ClassVar[bool] = False
    # Tracebacks and pickles show each error under the name by which users import it.
    __module__ = "inmem"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__module__ == __name__:
            cls.__module__ = InmemError.__module__

    def __reduce__(self) -> tuple[Any, ...]:
        # By default an exception is copied or unpickled by calling its class with its `args`, which here are the
        # finished message. These errors are sent between processes, so rebuild them from message and attributes,
        # without calling __init__.
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]

    def anew(self) -> Self:
        """Return an equal error that has not been raised, so that each of several callers gets an error of its own.

        A raised error keeps alive the frames through which it has passed, and all their local variables.
        """
        twin = copy.copy(self)
        if self.__cause__ is not None:
            twin.__cause__ = self.__cause__
        return twin


class UsageError(InmemError, ValueError):
    """The caller passed an argument that the store does not accept. Nothing was changed."""


class InvalidKeyError(UsageError):
    """A key, run id, name or tag does not have the accepted form.

    `argument` names the argument, as in ``run id``, and `reason` says what is wrong with it.
    """

    def __init__(self, argument: str, reason: str) -> None:
        super().__init__(f"{argument}: {reason}")
        self.argument = argument
        self.reason = reason


class InvalidValueError(UsageError):
    """A value cannot be stored; `path` names the place inside it, as in ``payload["items"][3]``, `reason` says why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class InvalidStatusTransitionError(UsageError):
    """The status of the run `run_id` cannot change from `from_status` to `to_status`."""

    def __init__(self, from_status: str, to_status: str, run_id: str) -> None:
        super().__init__(f"run {run_id!r} is {from_status} and cannot become {to_status}")
        self.run_id = run_id
        self.from_status = from_status
        self.to_status = to_status


class TransactionError(InmemError):
    """A transaction did not commit, or can no longer be used."""


def _users_first(conflicts: Sequence[Conflict]) -> tuple[Conflict, ...]:
    return tuple(sorted(conflicts, key=lambda conflict: conflict.key.is_the_stores_own))


def _listed(conflicts: Sequence[Conflict]) -> str:
    return "; ".join(str(conflict) for conflict in conflicts)


class ConflictError(TransactionError):
    """Another transaction committed first; `conflicts` holds every conflict that validation found.

    Conflicts on keys of the primitives come first. Conflicts on the store's own keys, such as index entries, come last,
    because they tell a user little.
    """

    retryable = True

    def __init__(self, conflicts: Sequence[Conflict], message: str | None = None) -> None:
        self.conflicts = _users_first(conflicts)
        super().__init__(message or _listed(self.conflicts))


class CasConflictError(ConflictError):
    """A compare-and-swap found a version other than the expected one.

    `expected` and `actual` are versions. For StateCell they are versions of the cell `name` of the run `run_id`. For
    `cas` on a key they are versions of the key; `name` then describes the key completely, and `run_id` is None.
    """

    retryable = False

    def __init__(
        self, name: str, expected: int, actual: int, conflicts: Sequence[Conflict] = (), run_id: str | None = None
    ) -> None:
        where = name if run_id is None else f"cell {name!r} of run {run_id!r}"
        super().__init__(conflicts, f"{where}: expected version {shown(expected)}, found {actual}")
        self.name = name
        self.run_id = run_id
        self.expected = expected
        self.actual = actual


class RetriesExhaustedError(ConflictError):
    """Every attempt ended in a conflict; `attempts` is their number, `conflicts` are those of the last attempt."""

    def __init__(self, attempts: int, conflicts: Sequence[Conflict]) -> None:
        last = _listed(_users_first(conflicts))
        super().__init__(conflicts, f"gave up after {attempts} attempts, the last one met: {last}")
        self.attempts = attempts


class TransactionAbortedError(TransactionError):
    """The store aborted the transaction for an internal `reason`, such as a restart; nothing was committed."""

    retryable = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"the transaction was aborted: {reason}")
        self.reason = reason


class TransactionTimeoutError(TransactionError):
    """The transaction did not finish within the `timeout_s` seconds allowed; nothing was committed."""

    retryable = True

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"the transaction did not finish within {timeout_s:g} s; nothing was committed")
        self.timeout_s = timeout_s


class TransactionClosedError(TransactionError):
    """The transaction has ended or is being committed, and accepts no more operations; `status` says which."""

    def __init__(self, status: str) -> None:
        super().__init__(f"this transaction is {status}: begin another one")
        self.status = status


class CommitOutcomeUnknownError(TransactionError):
    """The store could not determine whether the commit became durable, for `reason`.

    After reopening the database, ``db.outcome(token)`` returns the outcome.
    """

    def __init__(self, token: str, reason: str) -> None:
        super().__init__(f"it is not known whether the commit became durable ({reason}); token {token}")
        self.token = token
        self.reason = reason


def _in_run(run_id: str | None) -> str:
    return "" if run_id is None else f" in run {run_id!r}"


class NotFoundError(InmemError, LookupError):
    """No object with this name exists; `name` is the name that the caller passed, `run_id` the run searched."""

    noun: ClassVar[str] = "entry"

    def __init__(self, name: str, run_id: str | None = None) -> None:
        super().__init__(f"there is no {self.noun} {name!r}{_in_run(run_id)}")
        self.name = name
        self.run_id = run_id


class RunNotFoundError(NotFoundError):
    """The run is not in the RunIndex; `name` and `run_id` are both its id."""

    noun = "run"

    def __init__(self, run_id: str, *, holds_data: bool = False) -> None:
        super().__init__(run_id)
        if holds_data:
            self.args = (f"run {run_id!r} is not registered, though it holds data: register it with create_run first",)
        self.run_id = run_id


class CellNotFoundError(NotFoundError):
    """The run has no live cell with that name."""

    noun = "cell"


class TraceNotFoundError(NotFoundError):
    """The run has no trace with that id."""

    noun = "trace"


class ExistsError(InmemError):
    """An object with this name exists already; `name` is the name that the caller passed, `run_id` its run."""

    noun: ClassVar[str] = "entry"

    def __init__(self, name: str, run_id: str | None = None) -> None:
        super().__init__(f"{self.noun} {name!r} exists already{_in_run(run_id)}")
        self.name = name
        self.run_id = run_id


class RunExistsError(ExistsError):
    """The RunIndex has a run with that id; `name` and `run_id` are both its id."""

    noun = "run"

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id


class CellExistsError(ExistsError):
    """The run already has a live cell with that name."""

    noun = "cell"


class TraceExistsError(ExistsError):
    """The run already has a trace with that id."""

    noun = "trace"


class StorageError(InmemError):
    """The state of the files, or of the machine, does not allow the operation."""


class CorruptionError(StorageError):
    """Acknowledged data is damaged at byte `offset` of `path`; `reason` says how. The files were left unchanged."""

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(f"{path}, byte {offset}: {reason}")
        self.path = path
        self.offset = offset
        self.reason = reason


class RunFileError(StorageError):
    """Line `line` of the exported run in the file `path` is damaged or altered (`reason`). Nothing was imported."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(f"{path}, line {line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


class FormatVersionError(StorageError):
    """The file `path` is not a database file (or an exported run), or it was written by a newer version.

    `reason` says which. In a folder with other database files, an unknown file is a `CorruptionError` instead.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class UnfinishedSalvageError(StorageError):
    """A salvage into the folder `path` was interrupted. Run the same salvage again to replace the partial result."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} holds part of a database: the salvage into it did not finish; run it again")
        self.path = path


class DatabaseLockedError(StorageError):
    """Another opener owns the database at `path`; `owner` describes that opener as far as it is known."""

    def __init__(self, path: str, owner: str, advice: str = "read_only=True reads beside it") -> None:
        super().__init__(f"{path} is in use by {owner}; {advice}")
        self.path = path
        self.owner = owner


class DiskFullError(StorageError):
    """The disk has no space for the commit. All of it was aborted; commits work again once there is space."""

    retryable = True


class StoreFailedError(StorageError):
    """The store stopped writing after repeated failures; `reason` is the last one. Reads continue to work.

    If the actor of a single primitive kept failing, `actor` is its name, and only requests to that actor are refused;
    transactions continue to work with all primitives. Otherwise `actor` is None.
    """

    def __init__(self, reason: str, *, actor: str | None = None) -> None:
        if actor is None:
            text = f"the store stopped accepting writes: {reason}. Reads go on; db.recover() tries again"
        else:
            text = (
                f"the store stopped taking requests for the {actor} actor: {reason}. Transactions and reads go on; "
                "db.recover() tries again"
            )
        super().__init__(text)
        self.reason = reason
        self.actor = actor


class ReadOnlyError(StorageError):
    """The database was opened, or can only be opened, for reading."""


class DatabaseNotFoundError(StorageError, LookupError):
    """There is no database at `path`, and the caller asked not to create one."""

    def __init__(self, path: str, reason: str = "") -> None:
        super().__init__(f"there is no database at {path}{reason and ': '}{reason}")
        self.path = path


class DatabaseClosedError(InmemError):
    """The database handle, or the actor system behind it, was closed."""

    def __init__(self, message: str = "the database is closed") -> None:
        super().__init__(message)


class OverloadedError(InmemError):
    """The request was refused, because the most that may wait for the actor `mailbox` is waiting already.

    That is `limit`, in units of `unit`: requests or bytes.
    """

    retryable = True

    def __init__(self, mailbox: str, limit: int, unit: str = "requests") -> None:
        super().__init__(f"as many requests wait for {mailbox} as may, {limit} {unit}")
        self.mailbox = mailbox
        self.limit = limit
        self.unit = unit


class WatchGapError(InmemError):
    """Some changes after `version`, which a watcher asked for, are lost: read the whole state, then watch from there.

    Every change after version `since` is still available; `reason` says why earlier ones are not.
    """

    def __init__(self, version: int, since: int, reason: str) -> None:
        super().__init__(f"changes after version {version} cannot be told without a gap: {reason}")
        self.version = version
        self.since = since
        self.reason = reason


class WatchLaggedError(WatchGapError):
    """A watcher, now at `version`, is too far behind: the store keeps only the changes after `since`."""

    def __init__(self, version: int, since: int) -> None:
        super().__init__(version, since, f"only those after version {since} are kept")


class ForkedProcessError(InmemError):
    """A forked child used its parent's handle. It must open the database itself, after the parent has closed it."""

    def __init__(self) -> None:
        super().__init__("this handle belongs to the parent process; a forked child must open its own")


class InvariantError(InmemError):
    """A bug in this package: a condition that must always hold was violated."""
