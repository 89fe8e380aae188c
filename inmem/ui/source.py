"""The database that the explorer's pages read, as up to date as possible without making a page wait for long."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final

import inmem
from inmem import InmemError
from inmem.handle import plain_handle
from inmem.looking_pace import rest_s

if TYPE_CHECKING:
    from inmem import Database

_REST_S_MIN: Final = 0.5
"""The least time between two checks whether another process has written."""

PAGE_WAITS_S_MAX: Final = 1.0
"""How long a page waits for new commits: longer than reading them takes, unless there are very many."""


class Source:
    """A database to show: a handle of this process, or a folder owned by another process. For use from any thread.

    A handle shows every commit at once. A folder is read when this object is made; `refresh` reads new commits in a
    separate thread. Until that thread has finished, or if it fails, the pages show the state read before.

    Attributes:
        database: the handle to read from.
        trouble: why the last refresh failed, or None if it succeeded.

    Args:
        database: a handle, which the caller closes; or a folder.

    Raises:
        StorageError: the folder cannot be read.
        UsageError: `database` is neither a handle nor a folder.
    """

    def __init__(self, database: Database | str | os.PathLike[str]) -> None:
        self._folder: str | None = None
        if isinstance(database, (str, os.PathLike)):
            self._folder = os.fspath(database)
            # With a thread for each actor, pages can begin to read while the store reads new commits.
            database = inmem.open(self._folder, read_only=True, create=False, dispatcher="threads")
        self._lock = threading.Lock()
        self.database: Final = plain_handle(database, "database")
        self.trouble: str | None = None
        self._refreshing: threading.Thread | None = None
        self._not_before_s = 0.0
        self._is_closed = False

    def refresh(self, wait_s: float = 0.0) -> None:
        """Start reading what another process has written, if a refresh is due; wait for it up to `wait_s` seconds."""
        if self._folder is None:
            return
        with self._lock:
            thread = self._refreshing
            is_due = time.monotonic() >= self._not_before_s
            if thread is None and is_due and not self._is_closed:
                thread = self._refreshing = threading.Thread(target=self._read_on, name="inmem-ui-refresh", daemon=True)
                thread.start()
        if thread is not None and wait_s:
            thread.join(wait_s)

    def close(self) -> None:
        """Close the handle that this object opened, if any."""
        with self._lock:
            self._is_closed = True
            thread = self._refreshing
        if thread is not None:
            thread.join()
        if self._folder is not None:
            self.database.close()

    def _read_on(self) -> None:
        started_s = time.monotonic()
        # Python reports an error that is not the store's when the thread ends.
        trouble: str | None = "a bug of the explorer"
        try:
            self.database.refresh()
            trouble = None
        except InmemError as error:
            # The owner may have been in the middle of a change. The state read before stays valid; try again later.
            trouble = str(error)
        finally:
            self.trouble = trouble
            ended_s = time.monotonic()
            with self._lock:
                self._not_before_s = ended_s + rest_s(ended_s - started_s, _REST_S_MIN)
                self._refreshing = None
