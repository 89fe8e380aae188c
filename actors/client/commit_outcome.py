"""What the coordinator's answer to a commit means to the waiting client: a version, or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.messages.transactions import CommitAborted, CommitRefused, Committed
from inmem.engine.commits.conflicts import CasConflict
from inmem.engine.errors import CasConflictError, ConflictError, InvariantError

if TYPE_CHECKING:
    from inmem.engine.commits.conflicts import Conflict


def committed_version(outcome: Any) -> int:
    """Return the version of a commit, or raise the reason why there is none; `outcome` is the coordinator's answer."""
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
