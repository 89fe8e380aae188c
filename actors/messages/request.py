"""What all requests to primitive actors share: they are sealed at the edge.

When a request is made, its arguments are checked and its values encoded, in the caller's thread. So a bad argument
raises at the call, and what the caller changes afterwards does not change the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from inmem.engine.codec import Encoded
from inmem.engine.keys import normalize_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Request:
    """Base of all requests: frozen slotted dataclasses whose fields named in `EDGE` are converted when made."""

    __slots__ = ()

    EDGE: ClassVar[Mapping[str, Callable[..., object]]] = {"run": normalize_run_id}

    def __post_init__(self) -> None:
        for name, convert in self.EDGE.items():
            object.__setattr__(self, name, convert(getattr(self, name)))

    @property
    def size_bytes(self) -> int:
        """Bytes of the values and names in it: what it keeps in memory while it waits, give or take. O(its fields)."""
        return sum(_size_bytes(getattr(self, name)) for name in self.EDGE)


def _size_bytes(field: object) -> int:
    if isinstance(field, Encoded):
        return len(field.data)
    if isinstance(field, str | bytes):
        return len(field)
    if isinstance(field, tuple):
        return sum(map(_size_bytes, cast("tuple[object, ...]", field)))
    return 0
