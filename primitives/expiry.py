"""The reaper's work: turning expired KVStore entries into tombstones.

This frees the memory of the values; readers do not depend on it, because an expired key is already absent for them. The
reaper passes a time no later than the start of the oldest running transaction, so it never touches a key that some
transaction still sees alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.engine.keys import Tag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inmem.engine.commits.transaction import Transaction


def reap(txn: Transaction, run: str, keys: Iterable[bytes], before_us: int) -> int:
    """Buffer tombstones for those `keys` whose deadline is at or before `before_us`; return their number.

    The caller's list may be out of date: a key that has been written again since, with a later deadline or none, is
    left alone. O(keys).
    """
    view = txn.view(run, Tag.KV)
    return sum([view.remove_expired(key, before_us) for key in keys])
