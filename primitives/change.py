"""What a commit has changed, in the terms of the primitives: what watchers are told.

Read from the commit's log record, so a change shows the value as that commit wrote it, whatever has happened since.
The store's own tables, such as indices, are left out: they follow from what is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias, cast

from inmem.engine.codec import decode_value
from inmem.engine.errors import InvariantError
from inmem.engine.keys import Tag, sequence_of
from inmem.engine.log.log_records import DropRun, decode_commit
from inmem.primitives.arguments import one_of
from inmem.primitives.cell_record import unpack_cell
from inmem.primitives.cells import state_of
from inmem.primitives.events import event_of
from inmem.primitives.run_record import unpack_run
from inmem.primitives.runs import metadata_of
from inmem.primitives.traces import trace_of

PrimitiveName: TypeAlias = Literal["kv", "events", "cells", "traces", "runs"]
"""The primitive that a change belongs to, and that `db.watch` can be limited to."""

PRIMITIVES: Final[dict[int, PrimitiveName]] = {
    Tag.KV: "kv",
    Tag.EVENT: "events",
    Tag.STATE: "cells",
    Tag.TRACE: "traces",
    Tag.RUN: "runs",
}
"""Tag → the name of the primitive, as in `db.kv`."""

_TAGS: Final[dict[str, int]] = {name: tag for tag, name in PRIMITIVES.items()}


class ChangeKind(StrEnum):
    """What has happened."""

    PUT = "put"
    """It was created or replaced."""
    DELETE = "delete"
    """It is gone, because somebody deleted it or because its time was up and it was cleared away."""
    DROP = "drop"
    """The whole run is gone, with everything that it held in any primitive."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that one commit has changed.

    Attributes:
        version: of the commit. The changes of one commit come one after the other: first the runs that it dropped,
            then what it wrote to each primitive of each run, as it first came to them, each key at its first write.
        run: the run.
        primitive: "kv", "events", "cells", "traces" or "runs".
        key: the KVStore key, the event's sequence, the cell's name, the trace's id or the run's id.
        kind: put, delete, or drop.
        timestamp: when the commit's transaction began, in microseconds since the epoch.
        expires_at: a KVStore key's deadline in microseconds since the epoch, or None.
        is_last: whether it is the last change of its commit that this watcher is told of.
    """

    version: int
    run: str
    primitive: PrimitiveName
    key: str | int
    kind: ChangeKind
    timestamp: int
    expires_at: int | None = None
    is_last: bool = False
    data: bytes | None = field(default=None, repr=False)
    """The stored form of the value."""

    @property
    def value(self) -> Any:
        """A fresh copy of what was put: a value, an Event, a State, a Trace or a RunMetadata. None for what is gone.

        Decoded when it is asked for. O(value size).
        """
        data = self.data
        if data is None:
            return None
        match self.primitive:
            case "kv":
                return decode_value(data)
            case "events":
                return event_of(cast("int", self.key), data)
            case "cells":
                return state_of(data)
            case "traces":
                return trace_of(cast("str", self.key), data)
            case "runs":
                return metadata_of(self.run, unpack_run(data))


def tag_of(primitive: str | None) -> int | None:
    """Return the tag of a primitive's name; None for None.

    Raises:
        UsageError: there is no primitive of that name.
    """
    if primitive is None:
        return None
    return _TAGS[one_of("primitive", primitive, _TAGS, also=", or None")]


def changes_of(version: int, record: bytes, run: str | None = None, tag: int | None = None) -> list[Change]:
    """Return what the commit with this log record has changed, in order. O(record bytes).

    Args:
        version: of the commit.
        record: of the commit.
        run: leave other runs out.
        tag: leave other primitives out, but for the end of a whole run, which is the end of its data in all of them.
    """
    _, timestamp, operations = decode_commit(record, f"commit {version}", 0)
    changes: list[Change] = []
    for operation in operations:
        if run is not None and operation.run != run:
            continue
        if type(operation) is DropRun:
            changes.append(Change(version, operation.run, "runs", operation.run, ChangeKind.DROP, timestamp))
            continue
        name, table_tag, writes = cast("tuple[str, int, tuple[tuple[bytes, bytes | None, int], ...]]", operation)
        primitive = PRIMITIVES.get(table_tag)
        if primitive is None or (tag is not None and table_tag != tag):
            continue
        for key, data, expires_at in writes:
            gone = data is None or (table_tag == Tag.STATE and unpack_cell(data).value is None)
            changes.append(
                Change(
                    version,
                    name,
                    primitive,
                    _key_of(name, table_tag, key),
                    ChangeKind.DELETE if gone else ChangeKind.PUT,
                    timestamp,
                    expires_at or None,
                    data=None if gone else data,
                )
            )
    if changes:
        changes[-1] = replace(changes[-1], is_last=True)
    return changes


def _key_of(run: str, tag: int, key: bytes) -> str | int:
    match tag:
        case Tag.EVENT:
            return sequence_of(key)
        case Tag.RUN:
            return run
        case Tag.KV | Tag.STATE | Tag.TRACE:
            return key.decode()
        case _:
            raise InvariantError(f"tag {tag} belongs to no primitive")
