"""Requests to the KVStore actor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final
from uuid import UUID

from inmem.actors.messages import edge
from inmem.actors.messages.request import Request
from inmem.engine.keys import normalize_run_id
from inmem.primitives.arguments import checked_version

_KEYED: Final[dict[str, edge.Check]] = {"run": normalize_run_id, "key": edge.name("key")}
_PAGED: Final[dict[str, edge.Check]] = {
    "run": normalize_run_id,
    "prefix": edge.optional(edge.name("prefix")),
    "limit": edge.limit,
    "after": edge.optional(edge.name("after")),
}


class PutKey(Request, frozen=True):
    """Set a key that expires after `ttl` seconds. The reply is the commit version."""

    run: str | UUID
    key: str
    value: Any
    ttl: float | None = None

    EDGE: ClassVar = {**_KEYED, "value": edge.value(), "ttl": edge.ttl_s}


class CasKey(Request, frozen=True):
    """Set a key if it has the expected version. The reply is the commit version, or a CasConflictError."""

    run: str | UUID
    key: str
    expected_version: int
    value: Any
    ttl: float | None = None

    EDGE: ClassVar = {**_KEYED, "expected_version": checked_version, "value": edge.value(), "ttl": edge.ttl_s}


class DeleteKey(Request, frozen=True):
    """Delete a key. The reply is whether it existed."""

    run: str | UUID
    key: str

    EDGE: ClassVar = _KEYED


class GetKey(Request, frozen=True):
    """Read a key. The reply is its value, or None."""

    run: str | UUID
    key: str

    EDGE: ClassVar = _KEYED


class GetVersionedKey(Request, frozen=True):
    """Read a key. The reply is a VersionedValue, or None."""

    run: str | UUID
    key: str

    EDGE: ClassVar = _KEYED


class GetKeys(Request, frozen=True):
    """Read several keys. The reply is a dict of those that exist, all from one snapshot."""

    run: str | UUID
    keys: Iterable[str]

    EDGE: ClassVar = {"run": normalize_run_id, "keys": edge.keys}


class KeyExists(Request, frozen=True):
    """Ask whether a key exists. The reply is a bool."""

    run: str | UUID
    key: str

    EDGE: ClassVar = _KEYED


class ListKeys(Request, frozen=True):
    """List keys. The reply is the list of keys that start with `prefix`, in order."""

    run: str | UUID
    prefix: str | None = None
    limit: int | None = None
    after: str | None = None

    EDGE: ClassVar = _PAGED


class ListKeysWithValues(Request, frozen=True):
    """List keys with their values. The reply is the (key, value) pairs whose key starts with `prefix`, in order."""

    run: str | UUID
    prefix: str | None = None
    limit: int | None = None
    after: str | None = None

    EDGE: ClassVar = _PAGED
