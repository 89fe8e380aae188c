"""Reading a database beside its owner: the state at opening, and the commits since then."""

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
"""How often to read the folder because its files were rewritten during a read. Every view of it is complete; only an
owner that recovers from a disk failure changes the files in one."""

log = QuietLogger("inmem.recovery")


class Advance(NamedTuple):
    """The result of one step of following.

    Attributes:
        snapshot: the newest state.
        time_floor_us: latest timestamp of the commits read in this step, in microseconds since the epoch.
        outcomes: (salt, transaction id) → version of the commits read in this step, in order of their versions.
        retained: the newest of those commits, for watchers.
        goes_on: whether the new state contains every commit of the previous one; None if that is unknown.
    """

    snapshot: Snapshot
    time_floor_us: int
    outcomes: dict[tuple[int, int], int]
    retained: RetainedCommits
    goes_on: bool | None


class Follower:
    """Reads a folder that another process owns, and never changes it.

    Args:
        disk: the folder.
        shards: how many roots to split the state into.
    """

    def __init__(self, disk: Disk, shards: int) -> None:
        self._disk = disk
        self._shards = shards
        self._bookmark: Bookmark | None = None
        self._snapshot: Snapshot | None = None
        # (salt, transaction id) and version of the newest commit read. Another history does not contain it.
        self._newest: tuple[tuple[int, int], int] | None = None

    def open(self) -> Recovered:
        """Return the state that the files prove now, reading from the beginning. O(bytes).

        Raises:
            CorruptionError, FormatVersionError, StorageError: as `recover`.
        """
        for _ in range(READ_ATTEMPTS - 1):
            names = self._disk.names()
            try:
                return self._recover()
            except StorageError:
                # Either the files are damaged, or they changed during the read.
                if self._disk.names() == names:
                    break
        return self._recover()

    def advance(self) -> Advance:
        """Return the newest state. O(bytes appended since), or O(bytes) if a checkpoint removed the segment last read.

        Raises:
            CorruptionError, FormatVersionError, StorageError: as `recover`; the state stays what it was.
        """
        if self._bookmark is not None and self._snapshot is not None:
            try:
                with self._disk.view() as folder:
                    progress = read_on(folder, self._bookmark, self._snapshot)
            except StorageError as error:
                # Either the log is damaged, and reading all of it will say so, or it has just been rewritten.
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
    """Return whether `recovered` contains the newest known commit of the state at `version`; None if unknown."""
    if known is not None:
        if recovered.outcomes.get(known[0]) == known[1]:
            return True
        if known[1] > recovered.outcomes_since:
            return False
    # The commit's outcome is no longer remembered. None tells watchers that they lag, which cannot be said if this
    # state is no newer than the one they have seen: then it counts as another history.
    return None if recovered.version > version else False


def _newest_of(outcomes: dict[tuple[int, int], int]) -> tuple[tuple[int, int], int] | None:
    """Return the last entry, which is that of the newest commit."""
    return next(reversed(outcomes.items()), None)
