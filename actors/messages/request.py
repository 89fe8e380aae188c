"""What all requests to primitive actors share: they are sealed at the edge.

When a request is made, its arguments are checked and its values encoded, in the caller's thread. So a bad argument
raises at the call, and what the caller changes afterwards does not change the request.
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
    """Base of all requests: messages of outsiders, whose fields named in `EDGE` are converted when made."""

    EDGE: ClassVar[Mapping[str, Callable[..., object]]] = {"run": normalize_run_id}

    UNSHOWN: ClassVar[tuple[str, ...]] = ()
    """Fields that would show a value in logs. Those that are encoded as a whole never do."""

    def __post_init__(self) -> None:
        # A copy out of a pickle comes this way too: every check lets what is sealed already pass as it is.
        for name, convert in self.EDGE.items():
            force_setattr(self, name, convert(getattr(self, name)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([f'{name}={field!r}' for name, field in self.__rich_repr__()])})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the fields that may be shown, for `repr` and for rich, which structlog shows tracebacks with."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__ if name not in self.UNSHOWN]

    @property
    def size_bytes(self) -> int:
        """Bytes of memory that it keeps while it waits, never less than its values. O(its fields)."""
        return _size_bytes(self)


def _size_bytes(part: object) -> int:
    """Return what a part of a request takes: nothing counts for nothing, whatever requests will hold one day."""
    size_bytes = sys.getsizeof(part)
    if isinstance(part, Struct):
        return size_bytes + sum(map(_size_bytes, astuple(part)))
    if isinstance(part, tuple):
        return size_bytes + sum(map(_size_bytes, cast("tuple[object, ...]", part)))
    return size_bytes
