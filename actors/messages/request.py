"""The base class of requests to the primitive actors and the watch actor, which are sealed at the edge.

Constructing a request checks its arguments and encodes its values, in the caller's thread. So an invalid argument
raises at the call, and later changes to the caller's objects do not affect the request.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping  # noqa: TC003  (`help` evaluates the annotations)
from typing import Any, ClassVar, cast

from msgspec import Struct
from msgspec.structs import astuple, force_setattr

from inmem.actors.messages.message import Message
from inmem.engine.keys import normalize_run_id


class Request(Message, frozen=True):
    """Base class of requests: messages from outside the store. Constructing one converts the fields in `EDGE`."""

    EDGE: ClassVar[Mapping[str, Callable[..., object]]] = {"run": normalize_run_id}

    UNSHOWN: ClassVar[tuple[str, ...]] = ()
    """Fields to leave out of logs because they would show a value. Fields encoded as a whole never show one."""

    def __post_init__(self) -> None:
        # Unpickling comes through here too, so every check passes an already sealed value through unchanged.
        for name, convert in self.EDGE.items():
            force_setattr(self, name, convert(getattr(self, name)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([f'{name}={field!r}' for name, field in self.__rich_repr__()])})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the fields that may be shown: for `repr`, and for rich, with which structlog renders tracebacks."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__ if name not in self.UNSHOWN]

    @property
    def size_bytes(self) -> int:
        """Bytes of memory that the waiting request holds, at least the size of its values. O(fields)."""
        return _size_bytes(self)


def _size_bytes(part: object) -> int:
    """Return the size of a part of a request. Every type counts, so that no field added later is free."""
    size_bytes = sys.getsizeof(part)
    if isinstance(part, Struct):
        return size_bytes + sum(map(_size_bytes, astuple(part)))
    if isinstance(part, tuple):
        return size_bytes + sum(map(_size_bytes, cast("tuple[object, ...]", part)))
    return size_bytes
