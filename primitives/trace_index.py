"""The entries of a run's TRACE_INDEX, by which traces are found; index_key.py describes their layout.

Each trace has one entry in the list of all traces, one by its type, one per tag, and one as a child of its parent or as
a root. Within a family and name, entries are in recording order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from inmem.engine.keys import prefix_end
from inmem.primitives.index_key import POSITION_BYTES, name_component

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.engine.commits.view import View

ALL: Final = b"\x01"
ROOTS: Final = b"\x02"
_BY_TYPE: Final = b"\x03"
_BY_TAG: Final = b"\x04"
_BY_PARENT: Final = b"\x05"


def of_type(trace_type: str) -> bytes:
    """Return the prefix of the entries of a trace type."""
    return _BY_TYPE + name_component(trace_type)


def of_tag(tag: str) -> bytes:
    """Return the prefix of the entries of a tag."""
    return _BY_TAG + name_component(tag)


def children_of(trace_id: str) -> bytes:
    """Return the prefix of the entries of a trace's children."""
    return _BY_PARENT + name_component(trace_id)


def entries_of(
    position: bytes, trace_id: bytes, parent_id: str | None, trace_type: str, tags: tuple[str, ...]
) -> list[bytes]:
    """Return exactly the index keys that a trace must have."""
    suffix = position + trace_id
    family = ROOTS if parent_id is None else children_of(parent_id)
    entries = [ALL + suffix, family + suffix, of_type(trace_type) + suffix]
    for tag in tags:
        entries.append(of_tag(tag) + suffix)  # noqa: PERF401  (mostly few; a comprehension would cost a call)
    return entries


def trace_ids(index: View, prefix: bytes, low: bytes = b"", high: bytes | None = None) -> Iterator[bytes]:
    """Yield the ids under `prefix` with positions in [low, high), in recording order."""
    start = len(prefix) + POSITION_BYTES
    end = prefix_end(prefix) if high is None else prefix + high
    return (key[start:] for key, _ in index.scan(prefix + low, end))
