"""The items of a run as lines of its export: result types as JSON, keyed by their field names.

item     the fields of
run      inmem.RunMetadata
key      key, value, expires_at
event    inmem.Event
cell     name, value, version, updated_at, is_deleted
trace    inmem.Trace; kind holds the fields of the ToolCall, Decision, …
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, Final

from inmem.engine.codec import Encoded, encode_value
from inmem.engine.limits import GREATEST
from inmem.json_values import from_json, result_to_json
from inmem.primitives.event_hash import HASH_BYTES
from inmem.primitives.events import Event
from inmem.primitives.labels import checked_error
from inmem.primitives.run_contents import CellEntry, Item, KeyEntry
from inmem.primitives.run_status import status_of
from inmem.primitives.runs import RunMetadata
from inmem.primitives.trace_kinds import KINDS, pack_kind, trace_type_of
from inmem.primitives.traces import Trace

_TEXT_OR_NONE: Final = (str, type(None))
_INT_OR_NONE: Final = (int, type(None))
_HASH: Final = re.compile(rf"[0-9a-f]{{{2 * HASH_BYTES}}}")
_BYTES_MAX: Final = GREATEST["value_bytes_max"]
"""The largest value that any store can hold. The importing store's own limit is checked when the item is put back."""
_NAMES: Final[dict[type[Any], str]] = {
    RunMetadata: "run",
    KeyEntry: "key",
    Event: "event",
    CellEntry: "cell",
    Trace: "trace",
}


def item_to_json(item: Item) -> dict[str, Any]:
    """Return the item as one JSON object."""
    return {"item": _NAMES[type(item)], **result_to_json(item)}


def item_from_json(record: dict[str, Any]) -> Item:
    """Return the item that `item_to_json` made `record` from, with its values encoded.

    Raises:
        ValueError: `record` does not have the fields of such an item, or a field has a value that no store could hold.
    """
    taken = _Fields(record)
    item: Item
    match taken.take("item", str):
        case "run":
            item = RunMetadata(
                run_id=taken.take("run_id", str),
                parent_run=taken.take("parent_run", *_TEXT_OR_NONE),
                status=status_of(taken.take("status", str)),
                created_at=taken.take("created_at", int),
                updated_at=taken.take("updated_at", int),
                completed_at=taken.take("completed_at", *_INT_OR_NONE),
                tags=taken.tags("tags"),
                metadata=taken.value("metadata", dict),
                error=taken.error("error"),
            )
        case "key":
            item = KeyEntry(
                key=taken.take("key", str),
                value=taken.value("value"),
                expires_at=taken.take("expires_at", *_INT_OR_NONE),
            )
        case "event":
            item = Event(
                sequence=taken.take("sequence", int),
                event_type=taken.take("event_type", str),
                payload=taken.value("payload"),
                timestamp=taken.take("timestamp", int),
                prev_hash=taken.hash("prev_hash"),
                hash=taken.hash("hash"),
            )
        case "cell":
            item = CellEntry(
                name=taken.take("name", str),
                value=taken.value("value"),
                version=taken.take("version", int),
                updated_at=taken.take("updated_at", int),
                is_deleted=taken.take("is_deleted", bool),
            )
        case "trace":
            item = Trace(
                id=taken.take("id", str),
                parent_id=taken.take("parent_id", *_TEXT_OR_NONE),
                trace_type=(trace_type := trace_type_of(taken.take("trace_type", str))),
                timestamp=taken.take("timestamp", int),
                tags=taken.tags("tags"),
                metadata=taken.value("metadata", dict),
                kind=_kind(trace_type, taken.take("kind", dict)),
            )
        case other:
            raise ValueError(f"item: there is no {other!r}")
    taken.end()
    return item


def _kind(trace_type: str, record: dict[str, Any]) -> Any:
    """Return the kind with its fields encoded."""
    kind = KINDS[trace_type]
    names = [field.name for field in fields(kind)]
    if [*record] != names:
        raise ValueError(f"kind: a {trace_type} has the fields {', '.join(names)}")
    values: list[Any] = [_value(f"kind.{name}", value) for name, value in record.items()]
    return pack_kind(kind(*values), _BYTES_MAX)


def _value(name: str, value: Any) -> Any:
    """Return a stored value; an error names the field that holds it."""
    try:
        return from_json(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


class _Fields:
    """The fields of a line. Each must be taken once, in the order in which they are written."""

    def __init__(self, record: dict[str, Any]) -> None:
        self._left = dict(record)

    def take(self, name: str, *types: type[Any]) -> Any:
        """Return a field of one of `types`, or of any type if none is given."""
        if name not in self._left:
            raise ValueError(f"{name}: is missing")
        if next(iter(self._left)) != name:
            raise ValueError(f"{name}: is not in its place")
        value: Any = self._left.pop(name)
        if types and type(value) not in types:
            raise ValueError(f"{name}: cannot be a JSON {type(value).__name__}")
        return value

    def value(self, name: str, wanted: type[Any] | None = None) -> Any:
        """Return, encoded, a field that holds a stored value; if `wanted` is given, the value must be of that type."""
        value: Any = _value(name, self.take(name))
        if wanted is not None and type(value) is not wanted:
            raise ValueError(f"{name}: must be a {wanted.__name__}, not {type(value).__name__}")
        return Encoded(encode_value(value, name, _BYTES_MAX))

    def error(self, name: str) -> str | None:
        """Return a field that holds the reason why a run failed, or None."""
        error: str | None = self.take(name, *_TEXT_OR_NONE)
        return None if error is None else checked_error(error, _BYTES_MAX)

    def hash(self, name: str) -> bytes:
        """Return a field that holds a hash."""
        digits = self.take(name, str)
        if not _HASH.fullmatch(digits):
            raise ValueError(f"{name}: must have {2 * HASH_BYTES} hexadecimal digits in lower case")
        return bytes.fromhex(digits)

    def tags(self, name: str) -> tuple[str, ...]:
        """Return a field that holds tags without duplicates."""
        tags: dict[str, None] = {}
        for tag in self.take(name, list):
            if type(tag) is not str:
                raise ValueError(f"{name}: a tag cannot be a JSON {type(tag).__name__}")
            if tag in tags:
                raise ValueError(f"{name}: {tag!r} is there twice")
            tags[tag] = None
        return tuple(tags)

    def end(self) -> None:
        """Refuse fields that were not taken."""
        if self._left:
            raise ValueError(f"{next(iter(self._left))}: does not belong here")
