"""What a table has under a key: a version, a value or none, and a deadline. The one place that knows how it is kept.

Nearly every entry is a small value that never expires. Such a one is a single `bytes` object: its version in 8 bytes,
big-endian, then the value. As a tuple it would be two or three objects, of 96 bytes more than the value, and a store of
a million keys would have a million more objects to keep. All other entries are kept as the tuples they are: tombstones,
what expires, and values for which copying them at each read would cost more than the tuple.

Where it is done for every key read or written (`Table.apply`, `engine/commits/reader.py`,
`engine/commits/table_view.py`, `primitives/kv.py`) the two are told apart on the spot, since a call would cost more
than all that it did.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable

Entry: TypeAlias = tuple[int, bytes | None, int]
"""(version, encoded value or None for a tombstone, expiry in microseconds or 0 for never)."""

StoredEntry: TypeAlias = bytes | Entry
"""An entry as a table keeps it: packed into one `bytes` object, or as it is. Never of a subclass of either."""

VALUE: Final = slice(8, None)
"""Where the value of a packed entry is."""

PACKED_VALUE_BYTES_MAX: Final = 1024
"""The largest value that is packed. Each read copies it: up to here that takes 20 to 50 ns. Beyond, a tuple adds less
than a tenth to what the value takes."""

_VERSION: Final = Struct(">Q")
_pack_version: Final = cast("Callable[[int], bytes]", _VERSION.pack)
packed_version: Final = cast("Callable[[bytes], tuple[int]]", _VERSION.unpack_from)


def stored_entry(version: int, value: bytes | None, expires_at_us: int) -> StoredEntry:
    """Return the entry as a table keeps it. O(len(value)) if it is packed, else O(1)."""
    if value is None or expires_at_us or len(value) > PACKED_VALUE_BYTES_MAX:
        return version, value, expires_at_us
    return _pack_version(version) + value


def entry_of(stored: StoredEntry) -> Entry:
    """Return the entry that `stored_entry` was given."""
    if isinstance(stored, bytes):
        return packed_version(stored)[0], stored[VALUE], 0
    return stored


def version_of(stored: StoredEntry | None) -> int:
    """Return the version of an entry; 0 for None, a key that has never existed."""
    if stored is None:
        return 0
    return packed_version(stored)[0] if isinstance(stored, bytes) else stored[0]


def deadline_of(stored: StoredEntry) -> int:
    """Return when the entry expires, in microseconds; 0 for never."""
    return 0 if isinstance(stored, bytes) else stored[2]


def is_large(stored: StoredEntry) -> bool:
    """Return whether the entry's value is larger than one that is packed."""
    return not isinstance(stored, bytes) and stored[1] is not None and len(stored[1]) > PACKED_VALUE_BYTES_MAX


def is_live(stored: StoredEntry) -> bool:
    """Return whether the entry is no tombstone."""
    return isinstance(stored, bytes) or stored[1] is not None
