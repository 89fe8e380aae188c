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
    """Set a key; it expires after `ttl` seconds. Answered by the commit version."""

    run: str | UUID
    key: str
    value: Any
    ttl: float | None = None

    EDGE: ClassVar = {**_KEYED, "value": edge.value(), "ttl": edge.ttl_s}


class CasKey(Request, frozen=True):
    """Set a key that has the expected version. Answered by the commit version, or refused with CasConflictError."""

    run: str | UUID
    key: str
    expected_version: int
    value: Any
    ttl: float | None = None

    EDGE: ClassVar = {**_KEYED, "expected_version": checked_version, "value": edge.value(), "ttl": edge.ttl_s}


class DeleteKey(Request, frozen=True):
    """Delete a key. Answered by whether it existed."""

    run: str | UUID
    key: str

    EDGE: ClassVar = _KEYED


class GetKey(Request, frozen=True):
    """Answered by the value, or None."""

    run: str | UUID
    key: str

    EDGE: ClassVar = _KEYED


class GetVersionedKey(Request, frozen=True):
    """Answered by a VersionedValue, or None."""

    run: str | UUID
    key: str

    EDGE: ClassVar = _KEYED


class GetKeys(Request, frozen=True):
    """Answered by a dict of those keys that exist, all from one snapshot."""

    run: str | UUID
    keys: Iterable[str]

    EDGE: ClassVar = {"run": normalize_run_id, "keys": edge.keys}


class KeyExists(Request, frozen=True):
    """Answered by whether the key is there."""

    run: str | UUID
    key: str

    EDGE: ClassVar = _KEYED


class ListKeys(Request, frozen=True):
    """Answered by the keys that start with `prefix`, in order."""

    run: str | UUID
    prefix: str | None = None
    limit: int | None = None
    after: str | None = None

    EDGE: ClassVar = _PAGED


class ListKeysWithValues(Request, frozen=True):
    """Answered by (key, value) pairs of the keys that start with `prefix`, in order."""

    run: str | UUID
    prefix: str | None = None
    limit: int | None = None
    after: str | None = None

    EDGE: ClassVar = _PAGED
