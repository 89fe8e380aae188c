"""The KVStore actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from inmem.actors.requests.primitive_actor import PrimitiveActor
from inmem.engine.commits.conflicts import CasConflict
from inmem.engine.commits.request_groups import COMMIT_VERSION, Postpone
from inmem.engine.errors import CasConflictError, InvariantError
from inmem.engine.keys import Key
from inmem.primitives.kv import KVOperations

if TYPE_CHECKING:
    from inmem.engine.commits.transaction import Transaction


class KVActor(PrimitiveActor):
    """Carries out KVStore requests."""

    HANDLES = (PutKey, CasKey, DeleteKey, GetKey, GetKeys, GetVersionedKey, KeyExists, ListKeys, ListKeysWithValues)

    def perform(self, txn: Transaction, message: Any) -> Any:
        """Carry out one request."""
        kv = KVOperations(txn, message.run)
        match message:
            case PutKey(_, key, value, ttl):
                kv.put(key, value, ttl)
                return COMMIT_VERSION
            case GetKey(_, key):
                return kv.get(key)
            case DeleteKey(_, key):
                return kv.delete(key)
            case CasKey():
                return _cas(kv, message)
            case GetVersionedKey(_, key):
                if kv.wrote(key):
                    raise Postpone
                return kv.get_versioned(key)
            case GetKeys(_, keys):
                return kv.get_many(keys)
            case KeyExists(_, key):
                return kv.exists(key)
            case ListKeys(_, prefix, limit, after):
                return kv.list(prefix, limit, after)
            case ListKeysWithValues(_, prefix, limit, after):
                return kv.list_with_values(prefix, limit, after)
            case _:
                raise InvariantError(f"the KVStore cannot handle {type(message).__name__}")


def _cas(kv: KVOperations, message: CasKey) -> Any:
    """Judge at once what a user's transaction would judge at commit, because the request is a single operation."""
    if kv.wrote(message.key):
        raise Postpone
    actual = kv.version(message.key)
    kv.cas(message.key, message.expected_version, message.value, message.ttl)
    if actual != message.expected_version:
        conflict = CasConflict(Key.kv(message.run, message.key), message.expected_version, actual)
        raise CasConflictError(str(conflict.key), message.expected_version, actual, (conflict,))
    return COMMIT_VERSION
