"""The explorer's server on loopback, in a thread of its own."""

from __future__ import annotations

import secrets
import socket
import threading
from typing import TYPE_CHECKING, Final

import uvicorn

from inmem.engine.errors import UsageError
from inmem.ui.app import make_app
from inmem.ui.guard import TOKEN_BYTES, Guard
from inmem.ui.jobs import Jobs
from inmem.ui.source import Source

if TYPE_CHECKING:
    import os
    from types import TracebackType
    from typing import Self

    from inmem import Database

HOST: Final = "127.0.0.1"
"""Loopback only, because the pages show everything in the database."""

_BACKLOG: Final = 64
_GRACE_S: Final = 2
"""Seconds that requests in progress may take once the explorer is stopped."""


class Explorer:
    """A running explorer, made by `start`. As a context manager it stops on exit.

    Attributes:
        url: its URL, including the token: anyone who knows the URL can read everything.
    """

    def __init__(self, database: Database | str | os.PathLike[str], port: int) -> None:
        if type(port) is not int or not 0 <= port < 65536:
            raise UsageError(f"port: must be an int from 0 to 65535, not {port!r}")
        self._source = Source(database)
        try:
            # Bound in the caller's thread: a port in use raises here, and the address is known at once.
            self._socket = _listen(port)
        except OSError:
            self._source.close()
            raise
        bound: int = self._socket.getsockname()[1]
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self.url = f"http://{HOST}:{bound}/{token}/"
        self._jobs = Jobs()
        self._server = uvicorn.Server(_config(Guard(make_app(self._source, self._jobs), token, _hosts(bound))))
        self._stopping = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="inmem-ui", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Block until another thread has stopped the explorer."""
        self._thread.join()

    def stop(self) -> None:
        """Stop listening, finish the requests in progress, and return; a no-op the second time.

        The database stays open if it was given as a handle.
        """
        self._server.should_exit = True
        with self._stopping:
            self._thread.join()
            self._jobs.stop()
            self._source.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        # Without the token, as a repr may end up in logs.
        return f"<inmem.ui.Explorer on {HOST}:{self.url.split('/')[2].rpartition(':')[2]}>"


def _listen(port: int) -> socket.socket:
    # Unless the protocol is given, asyncio leaves Nagle's algorithm on, which delays small answers by 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        reason = f"{error.strerror}; take another port, or 0 for a free one"
        raise OSError(error.errno, reason, f"{HOST}:{port}") from None
    return listening


def _hosts(port: int) -> frozenset[str]:
    names = (HOST, "localhost")
    # Browsers omit http's default port.
    return frozenset(names if port == 80 else [f"{name}:{port}" for name in names])


def _config(app: Guard) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        # Pure Python: the same on every installation, and fast enough for one reader.
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        # URLs contain the token and the names of the user's data, neither of which belongs in a log.
        access_log=False,
        log_config=None,
        log_level="error",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
