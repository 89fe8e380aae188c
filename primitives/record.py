"""How a primitive keeps several facts under one key: a msgpack array, whose form is that of a class.

Field values that belong to the user stay in the codec's encoding, as bin: whoever reads the record pays for decoding
them only if they are wanted, and the event hash can cover exactly the stored bytes. A record is an ordinary value of
the codec as well, so tools can show it without knowing the primitive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

from msgspec import DecodeError, Meta, Struct
from msgspec.msgpack import Decoder

from inmem.engine.codec import MalformedValueError
from inmem.engine.limits import INT_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

RecordT = TypeVar("RecordT", bound="Record")

Time: TypeAlias = Annotated[int, Meta(ge=0, le=INT_MAX)]
"""Microseconds since the epoch."""


class Record(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of what is stored. The annotations of a subclass are what its fields must be when they are read back.

    `pack` of engine/packing.py makes the stored form of one whose fields are valid already; it does not check them.
    """


def unpacking(form: type[RecordT], what: str) -> Callable[[bytes], RecordT]:
    """Return the function that makes a `form` of what `pack` has made of one; `what` names it in errors.

    It raises MalformedValueError for anything that is not of exactly that form: somebody else has made it. O(bytes),
    whatever lengths the bytes claim.
    """
    decode = Decoder(form).decode

    def unpack(data: bytes) -> RecordT:
        try:
            return decode(data)
        except DecodeError as error:
            raise MalformedValueError(f"it does not have the form of {what}: {error}") from error

    return unpack
