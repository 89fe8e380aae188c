"""A run as it is stored, under the empty key of its own RUN table."""

from __future__ import annotations

from typing import Final

from inmem.primitives.index_key import Position
from inmem.primitives.record import Record, Time, unpacking
from inmem.primitives.run_status import RunStatus

RUN_KEY: Final = b""


class RunRecord(Record, frozen=True):
    """The fields in the order in which the record has them; see `RunMetadata` for their meaning."""

    position: Position
    """When it was created, as index_key.py defines it."""
    parent: str | None
    status: RunStatus
    updated_at: Time
    completed_at: Time | None
    tags: tuple[str, ...]
    metadata: bytes
    """In the codec's encoding."""
    error: str | None


unpack_run: Final = unpacking(RunRecord, "a run")
"""Return the RunRecord that these bytes are; O(bytes).

Raises:
    MalformedValueError: they are none.
"""
