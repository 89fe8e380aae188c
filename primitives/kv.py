"""KVStore: a run's named values, each with an optional deadline.

The encoded value is stored as it is, under the key's UTF-8 bytes; the deadline is a field of the table entry. So every
reader treats a key as absent from its deadline on, whether or not the reaper (expiry.py) has removed it.
"""

from __future__ import annotations

from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from inmem.engine.codec import decode_value, encode_value
from inmem.engine.errors import InvalidValueError, UsageError
from inmem.engine.keys import Tag, user_key
from inmem.engine.limits import INT_MAX
from inmem.engine.noncopyable import NonCopyable
from inmem.engine.shown import shown
from inmem.engine.tables.entry import VALUE
from inmem.primitives.arguments import checked_version, several
from inmem.primitives.paging import at_most, scan_names, scan_values
from inmem.primitives.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from inmem.engine.commits.transaction import Transaction
    from inmem.engine.tables.snapshot import Snapshot

_KV: Final = int(Tag.KV)
_name_of: Final = itemgetter(0)

# Inside the class below, `list` is a method.
Names: TypeAlias = list[str]
Items: TypeAlias = list[tuple[str, Any]]


class VersionedValue(Result, frozen=True):
    """A value with its version and its deadline.

    Attributes:
        value: a fresh copy of the stored value.
        version: the version of the commit that stored the value, which `cas` must expect. For a key that the
            transaction itself has written, the version of the committed value underneath; 0 if there never was one.
        expires_at: the deadline in microseconds since the epoch, or None.
    """

    value: Any
    version: int
    expires_at: int | None


def deadline_us(now_us: int, ttl: float | None) -> int:
    """Return the deadline of an entry written at `now_us` that lives for `ttl` seconds, at least 1 µs; 0 means never.

    Raises:
        UsageError: `ttl` is not a positive finite number, or the deadline does not fit in 64 bits.
    """
    if ttl is None:
        return 0
    kind = type(ttl)
    if (kind is not float and kind is not int) or not 0 < ttl < inf:
        raise UsageError(f"ttl: must be a positive number of seconds, or None, not {shown(ttl)}")
    # Compared before scaling, which may turn a float into infinity.
    if ttl > INT_MAX or (deadline := now_us + max(1, round(ttl * 1_000_000))) > INT_MAX:
        raise UsageError(f"ttl: {shown(ttl)} seconds are more than a deadline can hold; None means for ever")
    return deadline


def value_of(snapshot: Snapshot, run: str, key: str, now: Callable[[], int]) -> Any:
    """Return what `KVOperations.get` returns outside a transaction, in fewer steps. O(value size).

    Args:
        snapshot: the state to read.
        run: id of the run.
        key: any str of at most 1024 bytes in UTF-8.
        now: returns the time by which expiry is judged; called only if the key has a deadline.
    """
    encoded_key = user_key(key)
    table = snapshot.table(run, _KV)
    if table is None:
        return None
    stored = table.newest.get(encoded_key)
    if table.past.state is not None:
        stored = table.as_it_was(encoded_key, stored)
    if stored is None:
        return None
    if isinstance(stored, bytes):
        return decode_value(stored[VALUE])
    _, value, expires_at = stored
    return None if value is None or (expires_at and expires_at <= now()) else decode_value(value)


class KVOperations(NonCopyable):
    """The KVStore of one run, inside one transaction.

    Reads see the transaction's snapshot and its own writes. Writes become visible to others when the transaction
    commits.
    """

    __slots__ = ("_bytes_max", "_now_us", "_run", "_view")

    def __init__(self, txn: Transaction, run: str) -> None:
        self._run = run
        self._view = txn.view(run, _KV)
        self._now_us = txn.now_us
        self._bytes_max = txn.limits.value_bytes_max

    def __repr__(self) -> str:
        return f"<KVOperations of run {self._run!r}>"

    def get(self, key: str) -> Any:
        """Return a fresh copy of the value, or None if the key is absent or expired. O(value size)."""
        data = self._view.get(user_key(key))
        return None if data is None else decode_value(data)

    def get_versioned(self, key: str) -> VersionedValue | None:
        """Return the value with its version and deadline, or None if the key is absent or expired.

        The version of a key written in this transaction is that of the committed value underneath; 0 if there never
        was one.
        """
        entry = self._view.get_entry(user_key(key))
        if entry is None or entry[1] is None:
            return None
        return VersionedValue(decode_value(entry[1]), entry[0], entry[2] or None)

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those `keys` that exist as a dict, in the given order, all from one snapshot."""
        self._view.require_active()
        found: dict[str, Any] = {}
        for key in several("keys", keys):
            data = self._view.get(user_key(key))
            if data is not None:
                found[key] = decode_value(data)
        return found

    def put(self, key: str, value: object, ttl: float | None = None) -> None:
        """Set the key to a copy of `value`.

        Args:
            key: any str of at most 1024 bytes in UTF-8.
            value: see `encode_value`.
            ttl: seconds until the key expires, counted from the transaction's start; None means never. Either way, this
                replaces any previous deadline of the key.

        Raises:
            InvalidKeyError, InvalidValueError, UsageError: an argument is invalid; nothing was changed.
        """
        try:
            data = encode_value(value, "value", self._bytes_max)
        except InvalidValueError as error:
            raise _of_key(key, error) from None
        self._view.put(user_key(key), data, deadline_us(self._now_us, ttl) if ttl is not None else 0)

    def delete(self, key: str) -> bool:
        """Delete the key and return whether it existed. Deleting an absent key writes nothing."""
        return self._view.delete(user_key(key))

    def exists(self, key: str) -> bool:
        """Return whether the key exists and has not expired. O(1)."""
        return self._view.get(user_key(key)) is not None

    def cas(self, key: str, expected_version: int, value: object, ttl: float | None = None) -> None:
        """Set the key if its version at commit is `expected_version`; 0 means that it has never existed.

        Otherwise the transaction is refused with a CasConflict. Deleted and expired keys have a version too. The key
        does not count as read.

        Raises:
            InvalidKeyError, InvalidValueError, UsageError: an argument is invalid; nothing was changed.
        """
        try:
            data = encode_value(value, "value", self._bytes_max)
        except InvalidValueError as error:
            raise _of_key(key, error) from None
        self._view.cas(user_key(key), checked_version(expected_version), data, deadline_us(self._now_us, ttl))

    def wrote(self, key: str) -> bool:
        """Return whether this transaction has put or deleted the key. If so, its new version is not known yet."""
        return self._view.wrote(user_key(key))

    def version(self, key: str) -> int:
        """Return the key's version, or its tombstone's; 0 if it never existed. The key counts as read."""
        return self._view.version(user_key(key))

    def list(self, prefix: str | None = None, limit: int | None = None, after: str | None = None) -> Names:
        """Return the keys that start with `prefix`, sorted by their UTF-8 bytes.

        Args:
            prefix: None means all keys.
            limit: maximum number of keys; None means all.
            after: only keys greater than this one; pass the last key of a page to get the next page.

        Complexity: O(log n) plus O(1) per key returned and per deleted or expired key skipped.
        """
        return at_most(map(_name_of, scan_names(self._view, prefix, after)), limit)

    def list_with_values(self, prefix: str | None = None, limit: int | None = None, after: str | None = None) -> Items:
        """Return (key, value) pairs. Arguments, order and cost are as for `list`."""
        return at_most(scan_values(self._view, prefix, after), limit)

    def scan(self, prefix: str | None = None) -> Iterator[tuple[str, Any]]:
        """Iterate over the (key, value) pairs whose key starts with `prefix`, sorted by the keys' UTF-8 bytes.

        Writes of the transaction during the iteration do not change what it yields.
        """
        return scan_values(self._view, prefix)


def _of_key(key: object, error: InvalidValueError) -> InvalidValueError:
    """Return the error with the key added to its path, because a transaction may write many keys in a loop."""
    return InvalidValueError(f"value of {shown(key)}{error.path.removeprefix('value')}", error.reason)
