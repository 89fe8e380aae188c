"""What one commit says in the log: the payload of a COMMIT frame.

The payload is one msgpack array, `[transaction_id, timestamp_us, operations]`. The operations stand in program order,
each either of

    [run, tag, [[key, value | nil, expires_at_us], ...]]    writes to one table; nil leaves a tombstone
    [run]                                                   every table of the run is dropped

Values are the codec's bytes, kept as msgpack bin and never looked into here. Everything that is read is untrusted: what
does not have exactly these types is damage.
"""

# msgpack comes without types, and what it reads is of no known type before it has been checked.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import msgpack  # type: ignore[import-untyped]
from msgspec import Raw

from inmem.engine.errors import CorruptionError
from inmem.engine.keys import TAGS
from inmem.engine.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_unpackb: Final = cast("Callable[..., object]", msgpack.unpackb)


class TableWrites(NamedTuple):
    """The writes of one commit to one table, no key twice, as (key, value or None, expires_at_us or 0)."""

    run: str
    tag: int
    writes: tuple[tuple[bytes, bytes | None, int], ...]


class DropRun(NamedTuple):
    """Every table of the run vanishes; operations that follow in the same commit start afresh."""

    run: str


Operation: TypeAlias = TableWrites | DropRun


class CommitRecord(NamedTuple):
    """One commit but for its version, which its frame carries; `timestamp_us` is when its transaction began."""

    transaction_id: int
    timestamp_us: int
    operations: tuple[Operation, ...]


PlainOperation: TypeAlias = "tuple[str] | tuple[str, int, tuple[tuple[bytes, bytes | None, int], ...]]"


def encode_operations(operations: Sequence[PlainOperation]) -> Raw:
    """Return operations as `encode_commit` takes them without looking at them again. O(bytes)."""
    return Raw(pack(operations))


encode_commit: Final[Callable[[tuple[int, int, Raw] | CommitRecord], bytes]] = pack
"""Return the payload of the frame of a CommitRecord, or of its fields, the operations encoded already. O(bytes)."""

COMMIT_HEAD_BYTES_MAX: Final = 19
"""What a record takes at most beside its operations."""


def decode_commit(payload: bytes, path: str, offset: int) -> CommitRecord:
    """Return the record that `encode_commit` made into `payload`.

    Args:
        payload: untrusted bytes.
        path: file they come from, for the error.
        offset: byte in that file at which their frame begins, for the error.

    Raises:
        CorruptionError: anything but one record of the documented form.

    Complexity: O(bytes) in time and memory, whatever lengths the payload claims.
    """
    try:
        transaction_id, timestamp_us, packed = unpack_untrusted(payload)
        if (
            type(transaction_id) is not int
            or transaction_id < 0
            or type(timestamp_us) is not int
            or timestamp_us < 0
            or type(packed) is not tuple
        ):
            raise ValueError("a field of the commit has a wrong type")
        operations = tuple(map(_operation, packed))
    except (ValueError, TypeError) as error:
        raise CorruptionError(path, offset, f"the commit cannot be read: {error}") from error
    return CommitRecord(transaction_id, timestamp_us, operations)


def unpack_untrusted(payload: bytes) -> tuple[Any, ...]:
    """Return the one msgpack array that makes up the whole of `payload`, arrays as tuples.

    Raises:
        ValueError: malformed or incomplete msgpack, bytes behind it, or another type than an array.
    """
    # unpackb takes no length to be larger than its input, and allocates nothing in advance for one that is claimed.
    value: Any = _unpackb(payload, use_list=False)
    if type(value) is not tuple:
        raise ValueError("not an array")
    return value


def check_table_id(run: object, tag: object) -> None:
    """Raise ValueError unless `run` and `tag` can name a table."""
    if type(run) is not str or type(tag) is not int or tag not in TAGS:
        raise ValueError("a table is not named by a string and a byte")


def _operation(operation: Any) -> Operation:
    if type(operation) is not tuple:
        raise ValueError("an operation is not an array")
    if len(operation) == 1:
        (run,) = operation
        if type(run) is not str:
            raise ValueError("the run to drop is not a string")
        return DropRun(run)
    run, tag, writes = operation
    check_table_id(run, tag)
    if type(writes) is not tuple:
        raise ValueError("the writes to a table are not an array")
    for item in writes:
        if type(item) is not tuple:
            raise ValueError("a write is not an array")
        key, value, expires_at_us = item
        if (
            type(key) is not bytes
            or (value is not None and type(value) is not bytes)
            or type(expires_at_us) is not int
            or expires_at_us < 0
        ):
            raise ValueError("a field of a write has a wrong type")
    checked = cast("tuple[tuple[bytes, bytes | None, int], ...]", writes)
    if len(checked) > 1 and len({write[0] for write in checked}) != len(checked):
        raise ValueError("a key is written twice")
    return TableWrites(run, tag, checked)
