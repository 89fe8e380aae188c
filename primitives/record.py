"""How a primitive keeps several facts under one key: a msgpack array of plain fields.

Field values that belong to the user stay in the codec's encoding, as bin: whoever reads the record pays for decoding
them only if they are wanted, and the event hash can cover exactly the stored bytes. A record is an ordinary value of
the codec as well, so tools can show it without knowing the primitive.
"""

# msgpack comes without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import msgpack  # type: ignore[import-untyped]

from inmem.engine.codec import MalformedValueError
from inmem.engine.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable

Field: TypeAlias = "str | bytes | int | bool | tuple[Field, ...] | None"

_unpackb: Final = cast("Callable[..., tuple[Any, ...]]", msgpack.unpackb)


pack_record: Final[Callable[[tuple[Field, ...]], bytes]] = pack
"""Return the stored form of fields that are valid already. O(bytes)."""


def unpack_record(data: bytes, fields: int) -> tuple[Any, ...]:
    """Return what `pack_record` made `data` from. O(bytes).

    Raises:
        MalformedValueError: it was made by somebody else: not msgpack, or not an array of that many fields.
    """
    try:
        record = _unpackb(data, use_list=False)
    except (ValueError, TypeError) as error:
        raise MalformedValueError(str(error) or type(error).__name__) from error
    if type(record) is not tuple or len(record) != fields:
        raise MalformedValueError(f"it is not a record of {fields} fields")
    return record
