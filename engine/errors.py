"""Every error the store raises, in one tree.

Each error carries its facts as attributes, so that a program can act on them without parsing text, and says
through `retryable` whether running the same work again, unchanged, can succeed.
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
    """The root of what the store raises on purpose; docs/errors.md has the few that are none of these."""

    retryable: ClassVar[bool] = False
    # In a traceback and in a pickle each has the name under which users import it.
    __module__ = "inmem"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__module__ == __name__:
            cls.__module__ = InmemError.__module__

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is copied and unpickled by calling its class with its `args`, which here is the finished text.
        # These errors travel between processes, so they are put together again from text and facts, without __init__.
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]

    def anew(self) -> Self:
        """Return an equal error that nobody has raised yet: one for each caller who gets the same answer.

        A raised error holds on to the frames through which it went, and they to all that their callers had in hand.
        """
        twin = copy.copy(self)
        if self.__cause__ is not None:
            twin.__cause__ = self.__cause__
        return twin


class UsageError(InmemError, ValueError):
    """The caller passed something the store does not accept. Nothing was changed."""


class InvalidKeyError(UsageError):
    """A key, run id, name or tag is not of the accepted form.

    `argument` says which was meant, as in ``run id``, and `reason` what is wrong with it.
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
    """A transaction did not commit, or cannot be used any more."""


def _users_first(conflicts: Sequence[Conflict]) -> tuple[Conflict, ...]:
    return tuple(sorted(conflicts, key=lambda conflict: conflict.key.is_the_stores_own))


def _listed(conflicts: Sequence[Conflict]) -> str:
    return "; ".join(str(conflict) for conflict in conflicts)


class ConflictError(TransactionError):
    """Somebody else committed first; `conflicts` holds every conflict that validation found.

    Those on keys of the primitives come first. Only behind them come those on keys of the store's own, such as entries
    of an index, which say little to anybody else.
    """

    retryable = True

    def __init__(self, conflicts: Sequence[Conflict], message: str | None = None) -> None:
        self.conflicts = _users_first(conflicts)
        super().__init__(message or _listed(self.conflicts))


class CasConflictError(ConflictError):
    """A compare-and-swap found another version than it expected.

    `expected` and `actual` are versions: of the cell `name` of the run `run_id` for StateCell; for `cas` on a key, of
    the key, and `name` says all of where it is.
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
    """Every attempt met a conflict; `attempts` says how many there were, `conflicts` are the last attempt's."""

    def __init__(self, attempts: int, conflicts: Sequence[Conflict]) -> None:
        last = _listed(_users_first(conflicts))
        super().__init__(conflicts, f"gave up after {attempts} attempts, the last one met: {last}")
        self.attempts = attempts


class TransactionAbortedError(TransactionError):
    """The store aborted the transaction for a `reason` of its own, such as a restart; nothing of it was committed."""

    retryable = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"the transaction was aborted: {reason}")
        self.reason = reason


class TransactionTimeoutError(TransactionError):
    """The time allowed for the transaction, `timeout_s` seconds, ran out; nothing of it was committed."""

    retryable = True

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"the transaction did not finish within {timeout_s:g} s; nothing was committed")
        self.timeout_s = timeout_s


class TransactionClosedError(TransactionError):
    """The transaction has ended, or is being committed, and accepts nothing more; `status` says how it ended."""

    def __init__(self, status: str) -> None:
        super().__init__(f"this transaction is {status}: begin another one")
        self.status = status


class CommitOutcomeUnknownError(TransactionError):
    """The store could not tell whether the commit became durable, for `reason`.

    ``db.outcome(token)`` with its `token` tells after reopening.
    """

    def __init__(self, token: str, reason: str) -> None:
        super().__init__(f"it is not known whether the commit became durable ({reason}); token {token}")
        self.token = token
        self.reason = reason


def _in_run(run_id: str | None) -> str:
    return "" if run_id is None else f" in run {run_id!r}"


class NotFoundError(InmemError, LookupError):
    """Something named by the caller does not exist; `name` is the name that was given, `run_id` where it would be."""

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
    """The run has no live cell of that name."""

    noun = "cell"


class TraceNotFoundError(NotFoundError):
    """The run has no trace with that id."""

    noun = "trace"


class ExistsError(InmemError):
    """Something of that name exists already; `name` is the name that was given, `run_id` where it is."""

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
    """The run has a live cell of that name."""

    noun = "cell"


class TraceExistsError(ExistsError):
    """The run has a trace with that id."""

    noun = "trace"


class StorageError(InmemError):
    """The files, or the machine under them, do not allow what was asked."""


class CorruptionError(StorageError):
    """Acknowledged data is damaged at byte `offset` of `path`, as `reason` says. The files were left as they are."""

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(f"{path}, byte {offset}: {reason}")
        self.path = path
        self.offset = offset
        self.reason = reason


class RunFileError(StorageError):
    """Line `line` of the exported run in the file `path` is not as it was written (`reason`). Nothing was imported."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(f"{path}, line {line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


class FormatVersionError(StorageError):
    """The file `path` is no database's, and no other there is; or no exported run; or a newer version wrote it.

    `reason` says which. A foreign file among ours is a `CorruptionError`.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class UnfinishedSalvageError(StorageError):
    """A salvage into the folder `path` was interrupted. The same salvage, run again, writes it anew."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} holds part of a database: the salvage into it did not finish; run it again")
        self.path = path


class DatabaseLockedError(StorageError):
    """Another opener owns the database at `path`; `owner` describes it as far as it is known."""

    def __init__(self, path: str, owner: str, advice: str = "read_only=True reads beside it") -> None:
        super().__init__(f"{path} is in use by {owner}; {advice}")
        self.path = path
        self.owner = owner


class DiskFullError(StorageError):
    """There was no room for the commit. It was aborted whole; commits work again once there is space."""

    retryable = True


class StoreFailedError(StorageError):
    """The store gave up writing after repeated failures; `reason` is the last one. Reads go on.

    If it was the actor of one primitive that kept failing, `actor` is its name, and only requests to that one are
    refused: transactions go on, over any primitives. Otherwise it is None.
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
    """The request was not accepted: as much waits for the actor `mailbox` as may.

    `limit` says how much that is, `unit` of what: requests or bytes.
    """

    retryable = True

    def __init__(self, mailbox: str, limit: int, unit: str = "requests") -> None:
        super().__init__(f"as many requests wait for {mailbox} as may, {limit} {unit}")
        self.mailbox = mailbox
        self.limit = limit
        self.unit = unit


class WatchGapError(InmemError):
    """A watcher asked for what came after `version`, and not all of it is there: look at the whole state, then go on.

    Every change after version `since` can still be had; `reason` says why none before.
    """

    def __init__(self, version: int, since: int, reason: str) -> None:
        super().__init__(f"changes after version {version} cannot be told without a gap: {reason}")
        self.version = version
        self.since = since
        self.reason = reason


class WatchLaggedError(WatchGapError):
    """A watcher is too far behind: the store keeps the changes after `since` only. `version` is where it stands."""

    def __init__(self, version: int, since: int) -> None:
        super().__init__(version, since, f"only those after version {since} are kept")


class ForkedProcessError(InmemError):
    """A forked child used its parent's handle. Open the database anew after the parent has closed it."""

    def __init__(self) -> None:
        super().__init__("this handle belongs to the parent process; a forked child must open its own")


class InvariantError(InmemError):
    """A bug in this package: something that cannot happen has happened."""
