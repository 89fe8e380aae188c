"""The log record of a commit: the payload of a COMMIT frame.

The payload is one msgpack array, `[transaction_id, timestamp_us, operations]`. The operations are in program order,
each one of

    [run, tag, [[key, value | nil, expires_at_us], ...]]    writes to one table; nil leaves a tombstone
    [run]                                                   every table of the run is dropped

Values are bytes encoded by the codec, stored as msgpack bin; this module does not decode them. All input is untrusted:
anything that does not have exactly these types is damage.
"""

# msgpack has no type annotations, and the values it returns have no known type until they have been checked.
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
    """The writes of one commit to one table, as (key, value or None, expires_at_us or 0). No key occurs twice."""

    run: str
    tag: int
    writes: tuple[tuple[bytes, bytes | None, int], ...]


class DropRun(NamedTuple):
    """Deletes every table of the run; later operations of the same commit start with empty tables."""

    run: str


Operation: TypeAlias = TableWrites | DropRun


class CommitRecord(NamedTuple):
    """One commit without its version, which the frame carries; `timestamp_us` is when the transaction began."""

    transaction_id: int
    timestamp_us: int
    operations: tuple[Operation, ...]


PlainOperation: TypeAlias = "tuple[str] | tuple[str, int, tuple[tuple[bytes, bytes | None, int], ...]]"


def encode_operations(operations: Sequence[PlainOperation]) -> Raw:
    """Return the operations in encoded form, which `encode_commit` includes as it is. O(bytes)."""
    return Raw(pack(operations))


encode_commit: Final[Callable[[tuple[int, int, Raw] | CommitRecord], bytes]] = pack
"""Return the frame payload of a CommitRecord, or of its fields with the operations already encoded. O(bytes)."""

COMMIT_HEAD_BYTES_MAX: Final = 19
"""The most bytes that a record takes in addition to its operations."""


def decode_commit(payload: bytes, path: str, offset: int) -> CommitRecord:
    """Return the record that `encode_commit` encoded as `payload`.

    Args:
        payload: untrusted bytes.
        path: file that the bytes come from, for the error.
        offset: offset in the file at which the frame begins, for the error.

    Raises:
        CorruptionError: `payload` is not exactly one record of the documented form.

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
    """Return the msgpack array that `payload` consists of, with arrays decoded as tuples.

    Raises:
        ValueError: `payload` is malformed or incomplete msgpack, has trailing bytes, or is not an array.
    """
    # unpackb rejects lengths greater than its input, and allocates nothing in advance for a claimed length.
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
