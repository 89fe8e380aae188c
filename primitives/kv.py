"""KVStore: a run's named values, each with an optional deadline.

An entry is the encoded value itself, under the key's UTF-8 bytes; the deadline is the table entry's own. So an expired
key is absent for every reader from its deadline on, whether or not the reaper (expiry.py) has been there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from inmem.engine.codec import decode_value, encode_value
from inmem.engine.errors import InvalidValueError, UsageError
from inmem.engine.keys import Tag, user_key
from inmem.engine.limits import INT_MAX
from inmem.engine.shown import shown
from inmem.engine.tables.entry import VALUE
from inmem.primitives.arguments import checked_version, several
from inmem.primitives.paging import at_most, scan_names, scan_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from inmem.engine.commits.transaction import Transaction
    from inmem.engine.tables.snapshot import Snapshot

_KV: Final = int(Tag.KV)
_name_of: Final = itemgetter(0)

# Inside the class, the name `list` is the method.
Names: TypeAlias = list[str]
Items: TypeAlias = list[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class VersionedValue:
    """A value with its version and its deadline.

    Attributes:
        value: a fresh copy of what was stored.
        version: of the commit that stored it, and what `cas` has to expect. Of a key that the transaction itself has
            written: that of the committed value underneath, 0 if there has never been one.
        expires_at: microseconds since the epoch, or None.
    """

    value: Any
    version: int
    expires_at: int | None


def deadline_us(now_us: int, ttl: float | None) -> int:
    """Return when an entry written at `now_us` to live for `ttl` seconds expires: at least 1 µs later; 0 for never.

    Raises:
        UsageError: `ttl` is not a positive finite number, or leads past what 64 bits can hold.
    """
    if ttl is None:
        return 0
    kind = type(ttl)
    if (kind is not float and kind is not int) or not 0 < ttl < inf:
        raise UsageError(f"ttl: must be a positive number of seconds, or None, not {shown(ttl)}")
    # Compared before it is scaled: a float may become infinite by that.
    if ttl > INT_MAX or (deadline := now_us + max(1, round(ttl * 1_000_000))) > INT_MAX:
        raise UsageError(f"ttl: {shown(ttl)} seconds are more than a deadline can hold; None means for ever")
    return deadline


def value_of(snapshot: Snapshot, run: str, key: str, now: Callable[[], int]) -> Any:
    """Return what `KVOperations.get` returns outside of a transaction, in fewer steps. O(value size).

    Args:
        snapshot: what to look at.
        run: whose key it is.
        key: any str of at most 1024 bytes of UTF-8.
        now: returns the time by which expiry is judged; asked only when the key has a deadline.
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


class KVOperations:
    """The KVStore of one run, inside one transaction.

    Reads come from the transaction's snapshot with its own writes on top; what is written here becomes visible to
    others when the transaction commits.
    """

    __slots__ = ("_bytes_max", "_now_us", "_view")

    def __init__(self, txn: Transaction, run: str) -> None:
        self._view = txn.view(run, Tag.KV)
        self._now_us = txn.now_us
        self._bytes_max = txn.limits.value_bytes_max

    def __repr__(self) -> str:
        # Outside of transactions a view does not know whose it is.
        run = getattr(self._view, "run", None)
        return "<KVOperations>" if run is None else f"<KVOperations of run {run!r}>"

    def get(self, key: str) -> Any:
        """Return a fresh copy of the value, or None if the key is absent or expired. O(value size)."""
        data = self._view.get(user_key(key))
        return None if data is None else decode_value(data)

    def get_versioned(self, key: str) -> VersionedValue | None:
        """Return the value with its version and deadline, or None if the key is absent or expired.

        The version of a key written in this transaction is that of the committed value underneath, 0 if there has
        never been one.
        """
        entry = self._view.get_entry(user_key(key))
        if entry is None or entry[1] is None:
            return None
        return VersionedValue(decode_value(entry[1]), entry[0], entry[2] or None)

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those `keys` that exist, in the order asked for, all from one snapshot."""
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
            key: any str of at most 1024 bytes of UTF-8.
            value: see `encode_value`.
            ttl: seconds until the key expires, counted from the transaction's start; None means never. An earlier
                deadline of the key is forgotten either way.

        Raises:
            InvalidKeyError, InvalidValueError, UsageError: an argument is not acceptable; nothing was changed.
        """
        try:
            data = encode_value(value, "value", self._bytes_max)
        except InvalidValueError as error:
            raise _of_key(key, error) from None
        self._view.put(user_key(key), data, deadline_us(self._now_us, ttl) if ttl is not None else 0)

    def delete(self, key: str) -> bool:
        """Make the key absent; return whether it was there. Deleting what is absent writes nothing."""
        return self._view.delete(user_key(key))

    def exists(self, key: str) -> bool:
        """Return whether the key is there and not expired. O(1)."""
        return self._view.get(user_key(key)) is not None

    def cas(self, key: str, expected_version: int, value: object, ttl: float | None = None) -> None:
        """Set the key, provided that at commit its version is `expected_version`; 0 means that it has never existed.

        The transaction is refused with a CasConflict otherwise: a deleted or expired key has a version too. The key
        does not count as read.

        Raises:
            InvalidKeyError, InvalidValueError, UsageError: an argument is not acceptable; nothing was changed.
        """
        try:
            data = encode_value(value, "value", self._bytes_max)
        except InvalidValueError as error:
            raise _of_key(key, error) from None
        self._view.cas(user_key(key), checked_version(expected_version), data, deadline_us(self._now_us, ttl))

    def wrote(self, key: str) -> bool:
        """Return whether this transaction has put or deleted the key: its version is then not known yet."""
        return self._view.wrote(user_key(key))

    def version(self, key: str) -> int:
        """Return the key's version, that of its deletion included; 0 if it never existed. The key counts as read."""
        return self._view.version(user_key(key))

    def list(self, prefix: str | None = None, limit: int | None = None, after: str | None = None) -> Names:
        """Return the keys that start with `prefix`, sorted by their UTF-8 bytes.

        Args:
            prefix: None means all keys.
            limit: at most so many.
            after: only keys greater than this one: the last key of one page begins the next.

        Complexity: O(log n) plus O(1) per key returned, and per deleted or expired key passed.
        """
        return at_most(map(_name_of, scan_names(self._view, prefix, after)), limit)

    def list_with_values(self, prefix: str | None = None, limit: int | None = None, after: str | None = None) -> Items:
        """Return (key, value) pairs; arguments, order and cost are those of `list`."""
        return at_most(scan_values(self._view, prefix, after), limit)

    def scan(self, prefix: str | None = None) -> Iterator[tuple[str, Any]]:
        """Iterate over (key, value) of the keys that start with `prefix`, sorted by their UTF-8 bytes.

        What the transaction writes meanwhile does not change what the iterator yields.
        """
        return scan_values(self._view, prefix)


def _of_key(key: object, error: InvalidValueError) -> InvalidValueError:
    """Return the error with the key in it: a transaction may write many, in a loop."""
    return InvalidValueError(f"value of {shown(key)}{error.path.removeprefix('value')}", error.reason)
