"""The history of one cell or key, read from the log in the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from inmem.actors.files.folder_disk import FolderDisk
from inmem.engine.codec import decode_value
from inmem.engine.keys import Tag, user_key
from inmem.engine.log.history import read_change, read_history
from inmem.primitives.cells import state_of
from inmem.ui.values import pretty

if TYPE_CHECKING:
    from markupsafe import Markup

    from inmem.engine.log.history import KeyChange
    from inmem.ui.jobs import Progress

CHANGES_MAX: Final = 500
"""The newest changes are kept and shown, up to this many; older ones are only counted."""

KINDS: Final = {"cell": Tag.STATE, "key": Tag.KV}
"""The kinds of entries with a history, and the tags of their tables."""


_SHOWN_CHARS: Final = 2000
"""Characters shown of each earlier value: a page may have hundreds, and recently read histories stay in memory."""

_SMALL_BYTES: Final = 2000
"""Values up to this size are rendered only after the newest changes are known. Larger ones are rendered at once, so
they need not be kept until then."""


@dataclass(frozen=True, slots=True)
class Past:
    """The change made by one commit.

    Attributes:
        version: the version of the commit.
        time_us: the time of the commit in microseconds since the epoch.
        is_deleted: whether the entry was absent after the commit.
        html: the value after the commit, cut if necessary; None if the entry was deleted.
        is_whole: whether `html` shows the whole value.
        number: a cell's own version, or None.
        expires_us: a key's deadline, or None.
    """

    version: int
    time_us: int
    is_deleted: bool
    html: Markup | None = None
    is_whole: bool = True
    number: int | None = None
    expires_us: int | None = None


@dataclass(frozen=True, slots=True)
class History:
    """The history of one cell or key, newest change first; see `KeyHistory` for the other fields."""

    changes: tuple[Past, ...]
    omitted: int
    kept_since: int


def history_of(folder: str, run: str, kind: str, name: str, progress: Progress) -> History:
    """Return the history of a cell or key that the log holds. O(bytes of the log); keeps a few KB of each value.

    Raises:
        StorageError: the log cannot be read.
    """

    def keep(change: KeyChange) -> KeyChange | Past:
        return change if change.value is None or len(change.value) <= _SMALL_BYTES else _past(kind, change)

    # The view keeps the log as it is now, even if a checkpoint by the owner removes parts of it during the read.
    with FolderDisk(folder, read_only=True).view() as view:
        found = read_history(view, run, KINDS[kind], user_key(name), CHANGES_MAX, keep, progress)
    newest_first = (each if isinstance(each, Past) else _past(kind, each) for each in reversed(found.changes))
    return History(tuple(newest_first), found.omitted, found.kept_since)


def value_at(folder: str, run: str, kind: str, name: str, version: int) -> tuple[Any] | None:
    """Return a 1-tuple of the value that the commit of `version` gave to a cell or key, or None if the log has none.

    Raises:
        StorageError: the log cannot be read.
    """
    with FolderDisk(folder, read_only=True).view() as view:
        change = read_change(view, run, KINDS[kind], user_key(name), version)
    if change is None or (found := _decoded(kind, change.value)) is None:
        return None
    return (found[0],)


def _past(kind: str, change: KeyChange) -> Past:
    version, time_us, data, expires_us = change
    found = _decoded(kind, data)
    if found is None:
        return Past(version, time_us, is_deleted=True)
    value, number = found
    html, is_whole = pretty(value, _SHOWN_CHARS)
    return Past(version, time_us, False, html, is_whole, number, expires_us or None)


def _decoded(kind: str, data: bytes | None) -> tuple[Any, int | None] | None:
    """Return the value that a change gave to a cell or key, and a cell's own version; None if it was deleted."""
    if data is None:
        return None
    if kind == "key":
        return decode_value(data), None
    state = state_of(data)
    return None if state is None else (state.value, state.version)
