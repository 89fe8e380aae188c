"""Records: several fields stored under one key, as a msgpack array whose shape a class defines.

Field values that belong to the user stay in the codec's encoding, as msgpack bin. So reading a record does not decode
them unless they are needed, and the event hash can cover exactly the stored bytes. A record is also an ordinary value
of the codec, so tools can show it without knowing the primitive.
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
    """Base class of stored records. Decoding checks the fields against the subclass's annotations.

    Encoding, by `pack` in engine/packing.py, does not check them: they must already be valid.
    """


def unpacking(form: type[RecordT], what: str) -> Callable[[bytes], RecordT]:
    """Return a function that decodes a `form` from the output of `pack`; `what` names the form in errors.

    The function raises MalformedValueError for bytes of any other form, which this store does not write. O(bytes),
    whatever lengths the bytes claim.
    """
    decode = Decoder(form).decode

    def unpack(data: bytes) -> RecordT:
        try:
            return decode(data)
        except DecodeError as error:
            raise MalformedValueError(f"it does not have the form of {what}: {error}") from error

    return unpack
