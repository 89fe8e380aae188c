"""The reaper's work: turning expired KVStore entries into tombstones.

Readers need none of this, as an expired key is absent to them already; it gives the memory of the values back. The
reaper passes a time no later than the start of the oldest running transaction, so that it never touches a key that
somebody can still see alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.engine.keys import Tag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inmem.engine.commits.transaction import Transaction


def reap(txn: Transaction, run: str, keys: Iterable[bytes], before_us: int) -> int:
    """Buffer tombstones for those `keys` whose deadline is at or before `before_us`; return how many there were.

    A key that has meanwhile been written anew, with a later deadline or none, is left alone: the caller's list may
    be out of date. O(keys).
    """
    view = txn.view(run, Tag.KV)
    return sum([view.remove_expired(key, before_us) for key in keys])
