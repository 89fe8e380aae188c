"""The changes of a commit in terms of the primitives, as watchers receive them.

They are read from the commit's log record, so a change shows the value as that commit wrote it, whatever has happened
since. The store's own tables, such as indices, are left out: they follow from the other changes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias, cast

from msgspec.structs import replace

from inmem.engine.codec import decode_value
from inmem.engine.errors import InvariantError
from inmem.engine.keys import Tag, sequence_of
from inmem.engine.log.log_records import DropRun, decode_commit
from inmem.primitives.arguments import one_of
from inmem.primitives.cell_record import unpack_cell
from inmem.primitives.cells import state_of
from inmem.primitives.events import event_of
from inmem.primitives.result import Result
from inmem.primitives.run_record import unpack_run
from inmem.primitives.runs import metadata_of
from inmem.primitives.traces import trace_of

PrimitiveName: TypeAlias = Literal["kv", "events", "cells", "traces", "runs"]
"""The primitive that a change belongs to, and to which `db.watch` can be limited."""

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
    """What happened to the key."""

    PUT = "put"
    """It was created or replaced."""
    DELETE = "delete"
    """It was deleted by a caller, or expired and was removed by the reaper."""
    DROP = "drop"
    """The whole run was deleted, with its data in all primitives."""


class Change(Result, frozen=True):
    """One change made by a commit.

    Attributes:
        version: the commit's version. The changes of a commit are consecutive: first the runs that it dropped, then its
            writes, grouped by run and primitive. Groups, and keys within a group, are in order of their first write.
        run: id of the run.
        primitive: "kv", "events", "cells", "traces" or "runs".
        key: the KVStore key, the event's sequence, the cell's name, the trace's id or the run's id.
        kind: put, delete or drop.
        timestamp: when the commit's transaction began, in microseconds since the epoch.
        expires_at: a KVStore key's deadline in microseconds since the epoch, or None.
        is_last: whether it is the last change of its commit that this watcher receives.
    """

    version: int
    run: str
    primitive: PrimitiveName
    key: str | int
    kind: ChangeKind
    timestamp: int
    expires_at: int | None = None
    is_last: bool = False
    data: bytes | None = None
    """The stored form of the value."""

    def __repr__(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "data"]
        return f"Change({', '.join(shown)})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in self.__struct_fields__ if name != "data"]

    @property
    def value(self) -> Any:
        """A fresh copy of what was put: a value, an Event, a State, a Trace or a RunMetadata. None after a deletion.

        Decoded on every access. O(value size).
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
    """Return the tag of the primitive with this name; None for None.

    Raises:
        UsageError: no primitive has this name.
    """
    if primitive is None:
        return None
    return _TAGS[one_of("primitive", primitive, _TAGS, also=", or None")]


def changes_of(version: int, record: bytes, run: str | None = None, tag: int | None = None) -> list[Change]:
    """Return the changes of the commit with this log record, in order. O(record bytes).

    Args:
        version: the commit's version.
        record: the commit's log record.
        run: only changes to this run; None means all.
        tag: only changes to this primitive; None means all. A dropped run is included whatever the tag, because its
            data in every primitive is gone.
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
