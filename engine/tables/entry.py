"""A table's entry for a key (a version, a value or none, and a deadline), and the two forms in which it is stored.

Nearly every entry is a small value that never expires. It is packed into a single `bytes` object: the version as 8
big-endian bytes, then the value. A tuple would be two or three objects and take 96 bytes more than the value, and a
store of a million keys would hold a million more objects. All other entries are stored as tuples: tombstones, entries
with a deadline, and values so large that copying them at each read would cost more than the tuple.

The hot paths (`Table.apply`, `engine/commits/reader.py`, `engine/commits/table_view.py`, `primitives/kv.py`) test for
the packed form inline, because a function call would cost more than the test and the unpacking together.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable

Entry: TypeAlias = tuple[int, bytes | None, int]
"""(version, encoded value or None for a tombstone, expiry in microseconds or 0 for never)."""

StoredEntry: TypeAlias = bytes | Entry
"""An entry as a table stores it: packed into one `bytes` object, or a tuple. Never an instance of a subclass."""

VALUE: Final = slice(8, None)
"""The slice of a packed entry that is its value."""

PACKED_VALUE_BYTES_MAX: Final = 1024
"""The largest value that is packed. Each read copies the value, which takes 20 to 50 ns up to this size. For larger
values a tuple adds less than a tenth to the memory used."""

_VERSION: Final = Struct(">Q")
pack_version: Final = cast("Callable[[int], bytes]", _VERSION.pack)
packed_version: Final = cast("Callable[[bytes], tuple[int]]", _VERSION.unpack_from)


def stored_entry(version: int, value: bytes | None, expires_at_us: int) -> StoredEntry:
    """Return the entry in its stored form. O(len(value))."""
    if value is None:
        return version, None, expires_at_us
    if expires_at_us or len(value) > PACKED_VALUE_BYTES_MAX:
        # What the encoder returns occupies up to half as much again as its length. A copy does not.
        return version, bytes(memoryview(value)), expires_at_us
    return pack_version(version) + value


def entry_of(stored: StoredEntry) -> Entry:
    """Return the entry that `stored_entry` converted."""
    if isinstance(stored, bytes):
        return packed_version(stored)[0], stored[VALUE], 0
    return stored


def version_of(stored: StoredEntry | None) -> int:
    """Return the version of an entry; 0 for None, which stands for a key that has never existed."""
    if stored is None:
        return 0
    return packed_version(stored)[0] if isinstance(stored, bytes) else stored[0]


def deadline_of(stored: StoredEntry) -> int:
    """Return when the entry expires, in microseconds; 0 for never."""
    return 0 if isinstance(stored, bytes) else stored[2]


def is_large(stored: StoredEntry) -> bool:
    """Return whether the entry's value is too large to be packed."""
    return not isinstance(stored, bytes) and stored[1] is not None and len(stored[1]) > PACKED_VALUE_BYTES_MAX


def is_live(stored: StoredEntry) -> bool:
    """Return whether the entry is not a tombstone."""
    return isinstance(stored, bytes) or stored[1] is not None
