"""Where the explorer's pages read from: a database, as new as it can be had without making anybody wait."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import inmem
from inmem import StorageError

if TYPE_CHECKING:
    from collections.abc import Generator

    from inmem import Database

_PAUSE_S_MIN: Final = 0.5
"""No more often than that does the explorer look whether another process has written."""

_PAUSE_PER_READING: Final = 4
"""It rests so many times as long as the last reading took, so that a large database does not keep it busy."""


class Source:
    """A database to look at: a handle of this process, or a folder whose owner is another one. From any thread.

    A handle shows every commit at once. A folder is read when this is made, and again, in a thread of its own, when
    `refresh` finds that it has changed; until that is done the pages show what was read before.

    Args:
        database: the handle, which stays the caller's; or the folder.

    Raises:
        StorageError: the folder cannot be read.
    """

    def __init__(self, database: Database | str | os.PathLike[str]) -> None:
        self._folder: str | None = None
        if not isinstance(database, inmem.Database):
            self._folder = os.fspath(database)
            self._seen = _sizes(self._folder)
            database = inmem.open(self._folder, read_only=True, create=False)
        self._lock = threading.Lock()
        self._current = database
        self._users: dict[Database, int] = {}
        self._refreshing: threading.Thread | None = None
        self._not_before_s = 0.0
        self._is_closed = False

    @contextmanager
    def using(self) -> Generator[Database]:
        """Hold a handle on the newest state; one that is held is not closed."""
        with self._lock:
            db = self._current
            self._users[db] = self._users.get(db, 0) + 1
        try:
            yield db
        finally:
            with self._lock:
                self._users[db] -= 1
                if not self._users[db]:
                    del self._users[db]
                    if db is not self._current:
                        db.close()

    def refresh(self) -> None:
        """See to it that what another process has written is shown soon. Returns at once."""
        if self._folder is None:
            return
        with self._lock:
            is_due = time.monotonic() >= self._not_before_s
            if self._is_closed or not is_due or self._refreshing is not None:
                return
            self._refreshing = threading.Thread(target=self._read_anew, name="inmem-ui-refresh", daemon=True)
            self._refreshing.start()

    def close(self) -> None:
        """Close what this has opened."""
        with self._lock:
            self._is_closed = True
            thread = self._refreshing
        if thread is not None:
            thread.join()
        if self._folder is not None:
            self._current.close()

    def _read_anew(self) -> None:
        # The one place that knows how a reader beside the owner gets to see more.
        started_s = time.monotonic()
        try:
            self._see_more(self._folder or "")
        except StorageError:
            # Caught in the middle of something, perhaps; what was read before stays good, and it is tried again.
            pass
        finally:
            ended_s = time.monotonic()
            with self._lock:
                self._not_before_s = ended_s + max(_PAUSE_S_MIN, _PAUSE_PER_READING * (ended_s - started_s))
                self._refreshing = None

    def _see_more(self, folder: str) -> None:
        refresh = getattr(self._current, "refresh", None)
        if refresh is not None:
            refresh()
            return
        sizes = _sizes(folder)
        if sizes == self._seen:
            return
        db = inmem.open(folder, read_only=True, create=False)
        with self._lock:
            previous, self._current = self._current, db
            self._seen = sizes
            is_idle = previous not in self._users
        if is_idle:
            previous.close()


def _sizes(folder: str) -> dict[str, int]:
    """Return the size of each file: logs only grow, and checkpoints come and go whole."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries}
    except OSError:
        # Opening it says what is wrong.
        return {}
