"""Where the explorer's pages read from: a database, as new as it can be had without making anybody wait."""

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
"""No more often than that does the explorer look whether another process has written."""


class Source:
    """A database to look at: a handle of this process, or a folder whose owner is another one. From any thread.

    A handle shows every commit at once. A folder is read when this is made, and read on in a thread of its own when
    `refresh` is called; until that is done the pages show what was read before.

    Attributes:
        database: the handle to read from.
        trouble: why the folder could not be read on the last time, or None if it could. The pages show what was read
            before.

    Args:
        database: the handle, which stays the caller's; or the folder.

    Raises:
        StorageError: the folder cannot be read.
        UsageError: neither of them was given.
    """

    def __init__(self, database: Database | str | os.PathLike[str]) -> None:
        self._folder: str | None = None
        if isinstance(database, (str, os.PathLike)):
            self._folder = os.fspath(database)
            # A thread for each actor: pages can begin to read while the store reads on.
            database = inmem.open(self._folder, read_only=True, create=False, dispatcher="threads")
        self._lock = threading.Lock()
        self.database: Final = plain_handle(database, "database")
        self.trouble: str | None = None
        self._refreshing: threading.Thread | None = None
        self._not_before_s = 0.0
        self._is_closed = False

    def refresh(self) -> None:
        """See to it that what another process has written is shown soon. Returns at once."""
        if self._folder is None:
            return
        with self._lock:
            is_due = time.monotonic() >= self._not_before_s
            if self._is_closed or not is_due or self._refreshing is not None:
                return
            self._refreshing = threading.Thread(target=self._read_on, name="inmem-ui-refresh", daemon=True)
            self._refreshing.start()

    def close(self) -> None:
        """Close what this has opened."""
        with self._lock:
            self._is_closed = True
            thread = self._refreshing
        if thread is not None:
            thread.join()
        if self._folder is not None:
            self.database.close()

    def _read_on(self) -> None:
        started_s = time.monotonic()
        # Of an error that is none of the store's, Python tells when the thread ends.
        trouble: str | None = "a bug of the explorer"
        try:
            self.database.refresh()
            trouble = None
        except InmemError as error:
            # Caught in the middle of something, perhaps; what was read before stays good, and it is tried again.
            trouble = str(error)
        finally:
            self.trouble = trouble
            ended_s = time.monotonic()
            with self._lock:
                self._not_before_s = ended_s + rest_s(ended_s - started_s, _REST_S_MIN)
                self._refreshing = None
