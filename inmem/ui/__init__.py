"""The run explorer: local web pages that show what agents did. Needs the extra `ui`.

    with inmem.ui.start(db) as explorer:  # beside the agent, in the same process
        print(explorer.url)
        ...

`inmem ui DB` is `serve` on the command line. See docs/explorer.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem import UsageError
from inmem.extras import UI_PACKAGES, needing

with needing("ui", *UI_PACKAGES):
    from inmem.ui.server import Explorer

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from inmem import Database

__all__ = ["Explorer", "serve", "start"]


def start(database: Database | str | os.PathLike[str], *, port: int = 0) -> Explorer:
    """Start an explorer in its own thread and return it; it is then listening, on loopback only.

    Args:
        database: a handle, whose commits are shown at once; or the folder of a database whose owner may be another
            process. The folder is opened read-only and read again when it has changed.
        port: the port to listen on; 0 takes a free one.

    Raises:
        StorageError: the folder cannot be opened.
        OSError: the port is in use.
        UsageError: `port` is not a port number, or `database` is neither a handle nor a folder.
    """
    return Explorer(database, port)


def serve(
    database: Database | str | os.PathLike[str], *, port: int = 0, on_start: Callable[[str], object] = print
) -> None:
    """Run an explorer until Ctrl-C, then stop it and return. Arguments and errors are those of `start`.

    Args:
        database: see `start`.
        port: see `start`.
        on_start: called with the URL once the explorer is listening.

    Raises:
        UsageError: `on_start` cannot be called.
    """
    if not callable(on_start):
        raise UsageError(f"on_start: must be a function, not {type(on_start).__name__}")
    with start(database, port=port) as explorer:
        try:
            on_start(explorer.url)
            explorer.wait()
        except KeyboardInterrupt:
            return
