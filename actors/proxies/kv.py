"""`db.kv`: the KVStore as a plain object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from inmem.actors.messages.kv import (
    CasKey,
    DeleteKey,
    GetKey,
    GetKeys,
    GetVersionedKey,
    KeyExists,
    ListKeys,
    ListKeysWithValues,
    PutKey,
)
from inmem.actors.proxies.mapping import KVMapping
from inmem.actors.proxies.proxy import Proxy
from inmem.engine.keys import normalize_run_id
from inmem.primitives.kv import KVOperations, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pykka

    from inmem.actors.client.client import Client
    from inmem.primitives.kv import VersionedValue

# Inside the classes below, `list` is a method.
Names: TypeAlias = list[str]
Items: TypeAlias = list[tuple[str, Any]]
RunId: TypeAlias = "str | UUID"

RUNS_REMEMBERED_MAX = 1024
"""Number of checked run ids that a handle caches: about 0.3 MB."""


class KVStore(Proxy):
    """Named values of a run. Every call is its own transaction; reads use the newest committed state.

    A read sees every write that was reported successful before the read began. It does not wait for requests sent
    through `futures` that are still unanswered: to read their results, read through `futures` as well.

    See `Database` for the errors that any call may raise.

    Attributes:
        futures: the same operations except `mapping`, each returning a `pykka.Future`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.futures = KVStoreFutures(client)
        # Reading one key is the commonest call, so each run id is checked only once and this method is bound only once.
        self._now_us = client.now_us
        self._runs: dict[RunId, str] = {}

    def put(self, run: RunId, key: str, value: object, ttl: float | None = None) -> int:
        """Set a key durably (see `durability`) and return the commit version. Never fails with a conflict.

        Args:
            run: id of the run.
            key: any str of at most 1024 bytes in UTF-8.
            value: None, bool, int, float, str, bytes, list or dict; stored as a copy.
            ttl: seconds until the key expires, counted from the start of the transaction; None means never.

        Raises:
            InvalidKeyError, InvalidValueError, UsageError: an argument is invalid; nothing was changed.
        """
        version: int = self._client.ask(PutKey(run, key, value, ttl))
        return version

    def get(self, run: RunId, key: str) -> Any:
        """Return a fresh copy of the value, or None if the key is absent or expired. O(value size); sends no message.

        Raises:
            InvalidKeyError: the run id or the key is invalid. Every other read raises this too.
        """
        # Look up exact types only: an instance of a str subclass equals a cached id, but is not a valid run id.
        name = self._runs.get(run) if type(run) is str or type(run) is UUID else None
        if name is None:
            name = self._remember(run)
        return value_of(self._client.snapshot(), name, key, self._now_us)

    def get_versioned(self, run: RunId, key: str) -> VersionedValue | None:
        """Return the value with its version and deadline, or None if the key is absent or expired. O(value size)."""
        return self._read(run).get_versioned(key)

    def get_many(self, run: RunId, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those `keys` that exist as a dict, in the given order, all from one snapshot.

        Raises:
            InvalidKeyError, UsageError: an item is not a valid key, or `keys` is not iterable.
        """
        return self._read(run).get_many(keys)

    def exists(self, run: RunId, key: str) -> bool:
        """Return whether the key exists and has not expired. O(1)."""
        return self._read(run).exists(key)

    def list(self, run: RunId, prefix: str | None = None, limit: int | None = None, after: str | None = None) -> Names:
        """Return the keys that start with `prefix`, sorted by their UTF-8 bytes.

        Args:
            run: id of the run.
            prefix: None means all keys.
            limit: maximum number of keys; None means all.
            after: only keys greater than this one; pass the last key of a page to get the next page.

        Raises:
            InvalidKeyError, UsageError: an argument is invalid.

        Complexity: O(log n) plus O(1) per key returned and per deleted or expired key skipped.
        """
        return self._read(run).list(prefix, limit, after)

    def list_with_values(
        self, run: RunId, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> Items:
        """Return (key, value) pairs. Arguments, order, errors and cost are as for `list`."""
        return self._read(run).list_with_values(prefix, limit, after)

    def delete(self, run: RunId, key: str) -> bool:
        """Delete a key and return whether it existed. Never fails with a conflict; writes nothing for an absent key.

        Raises:
            InvalidKeyError: the run id or the key is invalid.
        """
        existed: bool = self._client.ask(DeleteKey(run, key))
        return existed

    def cas(self, run: RunId, key: str, expected_version: int, value: object, ttl: float | None = None) -> int:
        """Set a key if its version is `expected_version`; return the commit version. Version 0 means "never existed".

        Args:
            run: id of the run.
            key: as for `put`.
            expected_version: as in `VersionedValue.version`. Deleted and expired keys have a version too.
            value: the new value, as for `put`.
            ttl: the new value's time to live, as for `put`.

        Raises:
            CasConflictError: the key has another version; see `.expected` and `.actual`.
            InvalidKeyError, InvalidValueError, UsageError: an argument is invalid; nothing was changed.
        """
        version: int = self._client.ask(CasKey(run, key, expected_version, value, ttl))
        return version

    def mapping(self, run: RunId) -> KVMapping:
        """Return the run's KVStore as a dict-like object. It reads nothing until a method is called."""
        return KVMapping(self._client, run)

    def _remember(self, run: RunId) -> str:
        if len(self._runs) >= RUNS_REMEMBERED_MAX:
            self._runs.clear()
        name = self._runs[run] = normalize_run_id(run)
        return name

    def _read(self, run: RunId) -> KVOperations:
        return KVOperations(self._client.reader(), normalize_run_id(run))


class KVStoreFutures(Proxy):
    """The same operations, each returning a `pykka.Future` at once. Requests from one thread are processed in order.

    `mapping` is missing, because it sends no request.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._send = client.send

    def put(self, run: RunId, key: str, value: object, ttl: float | None = None) -> pykka.Future[int]:
        """See `KVStore.put`."""
        return self._send(PutKey(run, key, value, ttl))

    def get(self, run: RunId, key: str) -> pykka.Future[Any]:
        """See `KVStore.get`."""
        return self._send(GetKey(run, key))

    def get_versioned(self, run: RunId, key: str) -> pykka.Future[VersionedValue | None]:
        """See `KVStore.get_versioned`."""
        return self._send(GetVersionedKey(run, key))

    def get_many(self, run: RunId, keys: Iterable[str]) -> pykka.Future[dict[str, Any]]:
        """See `KVStore.get_many`."""
        return self._send(GetKeys(run, keys))

    def exists(self, run: RunId, key: str) -> pykka.Future[bool]:
        """See `KVStore.exists`."""
        return self._send(KeyExists(run, key))

    def list(
        self, run: RunId, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> pykka.Future[Names]:
        """See `KVStore.list`."""
        return self._send(ListKeys(run, prefix, limit, after))

    def list_with_values(
        self, run: RunId, prefix: str | None = None, limit: int | None = None, after: str | None = None
    ) -> pykka.Future[Items]:
        """See `KVStore.list_with_values`."""
        return self._send(ListKeysWithValues(run, prefix, limit, after))

    def delete(self, run: RunId, key: str) -> pykka.Future[bool]:
        """See `KVStore.delete`."""
        return self._send(DeleteKey(run, key))

    def cas(
        self, run: RunId, key: str, expected_version: int, value: object, ttl: float | None = None
    ) -> pykka.Future[int]:
        """See `KVStore.cas`."""
        return self._send(CasKey(run, key, expected_version, value, ttl))
