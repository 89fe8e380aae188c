"""A run as it is stored, under the empty key of its own RUN table."""

from __future__ import annotations

from typing import Final, NamedTuple

from inmem.engine.codec import MalformedValueError
from inmem.primitives.index_key import POSITION_BYTES
from inmem.primitives.record import pack_record, unpack_record
from inmem.primitives.run_status import RunStatus

RUN_KEY: Final = b""

_TYPES: Final = (bytes, str | None, str, int, int | None, tuple, bytes, str | None)


class RunRecord(NamedTuple):
    """The fields in the order in which the record has them; see `RunMetadata` for their meaning."""

    position: bytes
    """When it was created, as index_key.py defines it."""
    parent: str | None
    status: RunStatus
    updated_at: int
    completed_at: int | None
    tags: tuple[str, ...]
    metadata: bytes
    """In the codec's encoding."""
    error: str | None

    def pack(self) -> bytes:
        """Return the stored form."""
        return pack_record(self)

    @classmethod
    def unpack(cls, data: bytes) -> RunRecord:
        """Return what `pack` made `data` from."""
        record = cls(*unpack_record(data, len(cls._fields)))
        if not all(map(isinstance, record, _TYPES)) or len(record.position) != POSITION_BYTES:
            raise MalformedValueError("it does not have the form of a run")
        try:
            return record._replace(status=RunStatus(record.status))
        except ValueError as error:
            raise MalformedValueError(f"it is not a run: {error}") from error
