"""Reading beside the owner of a database: its state as of opening, and whatever it has committed since."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inmem.actors.event_log import QuietLogger
from inmem.engine.errors import InvariantError, StorageError
from inmem.engine.log.following import Bookmark, read_on
from inmem.engine.log.recovery import recover
from inmem.engine.tables.snapshot import Snapshot

if TYPE_CHECKING:
    from inmem.engine.log.recovered_state import Recovered
    from inmem.engine.ports import Disk
    from inmem.engine.retained_commits import RetainedCommits

READ_ATTEMPTS = 50
"""How often the folder is looked at anew because its files were rewritten while they were read. Each view of it is
whole; only an owner that recovers from a failure of its disk changes what is in one."""

log = QuietLogger("inmem.recovery")


class Advance(NamedTuple):
    """What following has led to.

    Attributes:
        snapshot: the newest state.
        time_floor_us: latest timestamp of any commit that was read for it, microseconds since the epoch.
        outcomes: (salt, transaction id) → version of commits that were read for it, in order of their versions.
        retained: the newest of those commits, for watchers.
        goes_on: whether it holds every commit of the state before; None when nobody can tell.
    """

    snapshot: Snapshot
    time_floor_us: int
    outcomes: dict[tuple[int, int], int]
    retained: RetainedCommits
    goes_on: bool | None


class Follower:
    """Reads a folder that somebody else owns, and never changes it.

    Args:
        disk: the folder.
        shards: how many roots to split the state into.
    """

    def __init__(self, disk: Disk, shards: int) -> None:
        self._disk = disk
        self._shards = shards
        self._bookmark: Bookmark | None = None
        self._snapshot: Snapshot | None = None
        # (salt, transaction id) and version of the newest commit that was read: another history does not have it.
        self._newest: tuple[tuple[int, int], int] | None = None

    def open(self) -> Recovered:
        """Return the state that the files prove now, read from the beginning. O(bytes).

        Raises:
            CorruptionError, FormatVersionError, StorageError: as `recover`.
        """
        for _ in range(READ_ATTEMPTS - 1):
            names = self._disk.names()
            try:
                return self._recover()
            except StorageError:
                # Damaged, or written while it was read.
                if self._disk.names() == names:
                    break
        return self._recover()

    def advance(self) -> Advance:
        """Return the newest state. O(bytes appended since), and O(bytes) when a checkpoint has removed what was read.

        Raises:
            CorruptionError, FormatVersionError, StorageError: as `recover`; the state stays what it was.
        """
        if self._bookmark is not None and self._snapshot is not None:
            try:
                with self._disk.view() as folder:
                    progress = read_on(folder, self._bookmark, self._snapshot)
            except StorageError as error:
                # Either it is damaged, and reading it all will say so, or it has just been rewritten.
                log.info("read_anew", error=str(error))
                progress = None
            if progress is not None:
                self._snapshot, time_floor_us, outcomes, retained, self._bookmark = progress
                self._newest = _newest_of(outcomes) or self._newest
                return Advance(self._snapshot, time_floor_us, outcomes, retained, goes_on=True)
        known, version = self._newest, 0 if self._snapshot is None else self._snapshot.version
        recovered = self.open()
        if self._snapshot is None:
            raise InvariantError("a folder was recovered and has no state")
        goes_on = version == 0 or _goes_on(known, version, recovered)
        return Advance(self._snapshot, recovered.time_floor_us, recovered.outcomes, recovered.retained, goes_on=goes_on)

    def _recover(self) -> Recovered:
        with self._disk.view() as folder:
            recovered, position = recover(folder, self._shards)
            self._bookmark = Bookmark.at(folder, position)
        self._snapshot = Snapshot(recovered.version, recovered.roots)
        self._newest = _newest_of(recovered.outcomes)
        return recovered


def _goes_on(known: tuple[tuple[int, int], int] | None, version: int, recovered: Recovered) -> bool | None:
    """Return whether what was recovered holds the newest known commit of the state at `version`; None if unknown."""
    if known is not None:
        if recovered.outcomes.get(known[0]) == known[1]:
            return True
        if known[1] > recovered.outcomes_since:
            return False
    # Its outcome is not remembered. Whoever has followed to an end no earlier than this one could not be told to lag.
    return None if recovered.version > version else False


def _newest_of(outcomes: dict[tuple[int, int], int]) -> tuple[tuple[int, int], int] | None:
    """Return the last entry, which is that of the newest commit."""
    return next(reversed(outcomes.items()), None)
