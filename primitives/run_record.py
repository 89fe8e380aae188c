"""The stored form of a run, under the empty key of the run's own RUN table."""

from __future__ import annotations

from typing import Final

from inmem.primitives.index_key import Position
from inmem.primitives.record import Record, Time, unpacking
from inmem.primitives.run_status import RunStatus

RUN_KEY: Final = b""


class RunRecord(Record, frozen=True):
    """The fields in stored order; see `RunMetadata` for their meaning."""

    position: Position
    """The time of creation, as a position (index_key.py)."""
    parent: str | None
    status: RunStatus
    updated_at: Time
    completed_at: Time | None
    tags: tuple[str, ...]
    metadata: bytes
    """In the codec's encoding."""
    error: str | None


unpack_run: Final = unpacking(RunRecord, "a run")
"""Return the RunRecord encoded in the bytes. O(bytes).

Raises:
    MalformedValueError: the bytes are not a run record.
"""
