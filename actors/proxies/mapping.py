"""`db.kv.mapping(run)`: a run's KVStore as a `MutableMapping`."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, MutableMapping, ValuesView
from typing import TYPE_CHECKING, Any, Final, Self

from inmem.actors.messages.kv import DeleteKey, PutKey
from inmem.engine.keys import normalize_run_id
from inmem.primitives.kv import KVOperations

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.actors.client.client import Client
    from inmem.actors.proxies.kv import RunId
    from inmem.primitives.kv import VersionedValue

_NO_DEFAULT: Final = object()


class KVMapping(MutableMapping[str, Any]):
    """The KVStore of one run as a dict-like object whose keys are sorted by their UTF-8 bytes.

    Every method is one transaction, even if it reads and then writes: when several agents `pop` the same key, exactly
    one gets it. Such methods raise RetriesExhaustedError if others change the same keys during every attempt.

    Iterators and comparisons use the snapshot taken when they begin, so later writes do not affect them. Values are
    copies: changing one does not change the store. Tuples come back as lists.

    An invalid key raises InvalidKeyError, even where a dict would merely report it missing.

    Args:
        client: the client of the running store.
        run: id of the run.
    """

    def __init__(self, client: Client, run: RunId) -> None:
        self._client = client
        self._run = normalize_run_id(run)

    def __getitem__(self, key: str) -> Any:
        """Return a copy of the value. O(value size); sends no message."""
        return _found(key, self._read().get_versioned(key))

    def __setitem__(self, key: str, value: object) -> None:
        """Set the key durably, without a deadline."""
        self._client.ask(PutKey(self._run, key, value))

    def __delitem__(self, key: str) -> None:
        """Delete the key."""
        if not self._client.ask(DeleteKey(self._run, key)):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        """Return whether the key exists. O(1)."""
        name: Any = key
        return self._read().exists(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the current keys."""
        return iter(self._read().list())

    def __reversed__(self) -> Iterator[str]:
        """Iterate over the current keys in reverse order."""
        return reversed(self._read().list())

    def __or__(self, other: object) -> dict[str, Any]:
        """Return a dict of this mapping merged with `other`; values in `other` win. See `copy`."""
        return {**self.copy(), **other} if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: object) -> dict[str, Any]:
        """Return a dict of `other` merged with this mapping; values in this mapping win. See `copy`."""
        return {**other, **self.copy()} if isinstance(other, Mapping) else NotImplemented

    def __ior__(self, other: Any) -> Self:  # type: ignore[misc]  # as of a dict: what `update` takes, and `|` does not
        """Update from `other`, in one commit."""
        self.update(other)
        return self

    def __len__(self) -> int:
        """Return the number of keys. O(n), because expired keys must be left out."""
        return len(self._read().list())

    def __bool__(self) -> bool:
        """Return whether there are any keys. O(1) per expired or deleted key before the first."""
        return bool(self._read().list(limit=1))

    def items(self) -> ItemsView[str, Any]:
        """Return a live view of the (key, value) pairs; each iteration over it uses one snapshot."""
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """Return a live view of the values; each iteration over it uses one snapshot."""
        return _Values(self)

    def pop(self, key: str, default: Any = _NO_DEFAULT) -> Any:
        """Delete the key and return its value. If it is absent, return `default` if given, else raise KeyError."""

        def take(kv: KVOperations) -> Any:
            versioned = kv.get_versioned(key)
            if versioned is None and default is not _NO_DEFAULT:
                return default
            value = _found(key, versioned)
            kv.delete(key)
            return value

        return self._transact(take)

    def popitem(self) -> tuple[str, Any]:
        """Delete the first key and return it with its value; raise KeyError if there are no keys.

        Complexity: O(1) per expired or deleted key before the first. Each call adds a deleted key, so emptying a
        mapping with `popitem` is quadratic; `clear`, or a loop over ``list(mapping)``, is not.
        """

        def take(kv: KVOperations) -> tuple[str, Any]:
            for key, value in kv.list_with_values(limit=1):
                kv.delete(key)
                return key, value
            raise KeyError("the mapping is empty")

        item: tuple[str, Any] = self._transact(take)
        return item

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value; if the key is absent, set it to `default` first."""

        def get_or_put(kv: KVOperations) -> Any:
            if not kv.exists(key):
                kv.put(key, default)
            return kv.get(key)

        return self._transact(get_or_put)

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Set keys from a mapping or an iterable of pairs, and from keyword arguments, all in one commit."""
        new = dict(other, **more)

        def put_all(kv: KVOperations) -> None:
            for key, value in new.items():
                kv.put(key, value)

        self._transact(put_all)

    def clear(self) -> None:
        """Delete all keys in one commit."""

        def delete_all(kv: KVOperations) -> None:
            for key in kv.list():
                kv.delete(key)

        self._transact(delete_all)

    def copy(self) -> dict[str, Any]:
        """Return the current keys and values as an ordinary dict, independent of the store."""
        return dict(self.pairs())

    def pairs(self) -> Iterator[tuple[str, Any]]:
        """Iterate over the current (key, value) pairs."""
        return self._client.while_mine(self._read().scan())

    def __repr__(self) -> str:
        return f"<KVMapping of run {self._run!r} of {self._client.directory.path!r}>"

    def _read(self) -> KVOperations:
        return KVOperations(self._client.reader(), self._run)

    def _transact(self, work: Callable[[KVOperations], Any]) -> Any:
        return self._client.transaction(self._run, lambda txn: work(txn.kv))


class _Items(ItemsView[str, Any]):
    _mapping: KVMapping

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return self._mapping.pairs()


class _Values(ValuesView[Any]):
    _mapping: KVMapping

    def __iter__(self) -> Iterator[Any]:
        return (value for _, value in self._mapping.pairs())

    def __contains__(self, value: object) -> bool:
        return any(each is value or each == value for each in self)


def _found(key: str, versioned: VersionedValue | None) -> Any:
    if versioned is None:
        raise KeyError(key)
    return versioned.value
