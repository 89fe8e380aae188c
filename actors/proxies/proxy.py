"""The base class of the proxies: their repr, and that they cannot be copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.engine.noncopyable import NonCopyable

if TYPE_CHECKING:
    from inmem.actors.client.client import Client


class Proxy(NonCopyable):
    """A primitive of one database, as a plain object. Its repr shows the database's path."""

    _client: Client

    def __repr__(self) -> str:
        return f"<inmem.{type(self).__name__} of {self._client.directory.path!r}>"
