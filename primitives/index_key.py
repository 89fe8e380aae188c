"""How index entries are built, so that no name can be mistaken for another and entries come in recording order.

An index key is: a family byte, then (for most families) a name, then a position, then the id of the entry that it
leads to, as it is. A name is its UTF-8 with every 00 written as 00 FF, ended by 00 00 (the escape of keys.py), hence no
name's entries lie among those of another, whatever the names contain. Positions have a fixed size.
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
"""The value of an index entry: the key says it all."""


def name_component(name: str) -> bytes:
    """Return the bytes of a name inside an index key."""
    return name.encode().replace(b"\x00", b"\x00\xff") + b"\x00\x00"


def position_of(txn: Transaction, time_us: int | None = None) -> bytes:
    """Return the position of an entry about to be recorded, behind all others of this transaction.

    Its time is the transaction's, or `time_us` for an entry that was recorded elsewhere before.

    Positions sort by the transaction's time; within one microsecond, or while the clock stands still, by the version it
    began at, then by the order in which transactions began; within a transaction by the order of recording. Nothing
    shared is read or written for it, so that recorders do not conflict.
    """
    return _POSITION.pack(txn.now_us if time_us is None else time_us, txn.start_version, txn.id, txn.next_ordinal())


def time_of(position: bytes) -> int:
    """Return the microseconds since the epoch that a position begins with."""
    (time_us,) = _TIME.unpack_from(position)
    return int(time_us)


def time_bound(time_us: int, where: str) -> bytes:
    """Return the bytes below all positions from `time_us` on, and above all earlier ones.

    Raises:
        UsageError: not exactly an int.
    """
    if type(time_us) is not int:
        raise UsageError(f"{where}: must be an int of microseconds since the epoch, not {type_name(time_us)}")
    return _TIME.pack(min(max(time_us, 0), _TIME_MAX))


def name_in(component: bytes) -> str:
    """Return the name that `name_component` made `component` from."""
    return component[:-2].replace(b"\x00\xff", b"\x00").decode()
