"""The layout of index keys. Names cannot be confused with each other, and entries sort in recording order.

An index key is a family byte, then (in most families) a name, then a position, then the unescaped id of the record
that it leads to. A name is its UTF-8 with every 00 written as 00 FF, terminated by 00 00 (the escape of keys.py), so
the entries of one name never lie among those of another, whatever the names contain. Positions have a fixed size.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from msgspec import Meta

from inmem.engine.codec import encode_value
from inmem.engine.errors import UsageError
from inmem.engine.shown import type_name

if TYPE_CHECKING:
    from inmem.engine.commits.transaction import Transaction

POSITION_BYTES: Final = 28
Position: TypeAlias = Annotated[bytes, Meta(min_length=POSITION_BYTES, max_length=POSITION_BYTES)]
_POSITION: Final = Struct(">QQQI")
_TIME: Final = Struct(">Q")
_TIME_MAX: Final = 2**64 - 1

PRESENT: Final = encode_value(None)
"""The value of every index entry: only the key carries information."""


def name_component(name: str) -> bytes:
    """Return the bytes of a name inside an index key."""
    return name.encode().replace(b"\x00", b"\x00\xff") + b"\x00\x00"


def position_of(txn: Transaction, time_us: int | None = None) -> bytes:
    """Return the position for a new entry, after all earlier ones of this transaction.

    Its time is the transaction's, or `time_us` for an entry that was first recorded elsewhere.

    Positions sort by the transaction's time; within one microsecond, or while the clock stands still, by the version at
    which the transaction began, then by the order in which transactions began; within a transaction by the order of
    recording. Computing a position reads and writes no shared key, so concurrent recorders do not conflict.
    """
    return _POSITION.pack(txn.now_us if time_us is None else time_us, txn.start_version, txn.id, txn.next_ordinal())


def time_of(position: bytes) -> int:
    """Return the time at the start of a position, in microseconds since the epoch."""
    (time_us,) = _TIME.unpack_from(position)
    return int(time_us)


def time_bound(time_us: int, where: str) -> bytes:
    """Return bytes that sort below all positions at or after `time_us`, and above all earlier positions.

    Raises:
        UsageError: `time_us` is not exactly an int.
    """
    if type(time_us) is not int:
        raise UsageError(f"{where}: must be an int of microseconds since the epoch, not {type_name(time_us)}")
    return _TIME.pack(min(max(time_us, 0), _TIME_MAX))


def name_in(component: bytes) -> str:
    """Return the name that `name_component` encoded as `component`."""
    return component[:-2].replace(b"\x00\xff", b"\x00").decode()
