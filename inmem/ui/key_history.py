"""What became of one cell or key, read from the log in the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from inmem.actors.folder_disk import FolderDisk
from inmem.engine.codec import decode_value
from inmem.engine.history import read_history
from inmem.engine.keys import Tag, user_key
from inmem.primitives.cells import state_of

if TYPE_CHECKING:
    from inmem.engine.history import KeyChange
    from inmem.ui.jobs import Progress

CHANGES_MAX: Final = 500
"""Changes that are kept and shown, the newest; older ones are counted."""

KINDS: Final = {"cell": Tag.STATE, "key": Tag.KV}
"""What has a history, and the tag of its table."""


@dataclass(frozen=True, slots=True)
class Past:
    """What one commit did.

    Attributes:
        version: of the commit.
        time_us: of the commit, microseconds since the epoch.
        is_deleted: whether there was nothing behind it.
        value: otherwise what was there.
        number: a cell's own version, or None.
        expires_us: a key's deadline, or None.
    """

    version: int
    time_us: int
    is_deleted: bool
    value: Any = None
    number: int | None = None
    expires_us: int | None = None


@dataclass(frozen=True, slots=True)
class History:
    """The past of one cell or key, the newest change first; see `KeyHistory` for the other fields."""

    changes: tuple[Past, ...]
    omitted: int
    kept_since: int


def history_of(folder: str, run: str, kind: str, name: str, progress: Progress) -> History:
    """Return what the log still tells of a cell or key. O(bytes of the log).

    Raises:
        StorageError: the log cannot be read.
    """
    # As it stands at this moment, whatever a checkpoint of the owner's removes meanwhile.
    with FolderDisk(folder, read_only=True).view() as view:
        found = read_history(view, run, KINDS[kind], user_key(name), CHANGES_MAX, progress)
    return History(tuple(_past(kind, change) for change in reversed(found.changes)), found.omitted, found.kept_since)


def _past(kind: str, change: KeyChange) -> Past:
    version, time_us, data, expires_us = change
    if data is None:
        return Past(version, time_us, is_deleted=True)
    if kind == "key":
        return Past(version, time_us, is_deleted=False, value=decode_value(data), expires_us=expires_us or None)
    state = state_of(data)
    if state is None:
        return Past(version, time_us, is_deleted=True)
    return Past(version, time_us, is_deleted=False, value=state.value, number=state.version)
