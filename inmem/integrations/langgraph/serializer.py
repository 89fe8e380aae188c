"""How values become bytes, and why bytes can only become values of types that were named beforehand.

LangGraph's own serializer writes msgpack in which an object is its module, its class and its arguments. Left to its
default it imports what stored bytes name and calls it, with a warning. Here it runs in its strict mode: what it
constructs is on LangGraph's closed list of safe types (messages, dates, UUIDs, sets, …) or was named by the
application. Everything else comes back as the plain data it was stored with. Neither pickle nor JSON with constructors
is ever read.

The strict mode would also turn the application's own classes silently into dicts. So the other direction is checked,
too: what would not be read back as itself is refused when it is written.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import ormsgpack
from langgraph.checkpoint.serde._msgpack import (  # pyright: ignore[reportPrivateUsage]
    SAFE_MSGPACK_METHODS,
    SAFE_MSGPACK_TYPES,
)
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_METHOD_SINGLE_ARG,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)

import inmem

if TYPE_CHECKING:
    from collections.abc import Iterable

_KINDS: Final = frozenset({"null", "bytes", "bytearray", "msgpack"})
"""What `dumps_typed` writes. The base class would also read JSON with constructors in it."""

_NAMED: Final = frozenset(
    {
        EXT_CONSTRUCTOR_SINGLE_ARG,
        EXT_CONSTRUCTOR_POS_ARGS,
        EXT_CONSTRUCTOR_KW_ARGS,
        EXT_METHOD_SINGLE_ARG,
        EXT_PYDANTIC_V1,
        EXT_PYDANTIC_V2,
    }
)
"""The extension types that name what is to be called."""


class StrictSerializer(JsonPlusSerializer):
    """Reads only types that are known to be safe or were named, and writes only what it would read back.

    Args:
        allowed_types: further classes that may be constructed from stored bytes, as classes or (module, name).

    Raises:
        UsageError: one of the classes would not be found again under its name.
    """

    def __init__(self, allowed_types: Iterable[type | tuple[str, ...]] = ()) -> None:
        named = tuple(allowed_types)
        for allowed in named:
            if isinstance(allowed, type) and _found(allowed) is not allowed:
                raise inmem.UsageError(
                    f"allowed_types: {allowed.__module__} has no {allowed.__name__} at its top level,"
                    " so it could not be read back"
                )
        super().__init__(pickle_fallback=False, allowed_json_modules=None, allowed_msgpack_modules=named or None)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Return the kind of encoding and the bytes.

        Raises:
            InvalidValueError: something in `obj` would not be read back as what it is.
            TypeError: something in `obj` has no encoding at all.
        """
        kind, data = super().dumps_typed(obj)
        if kind == "msgpack":
            self._check_readable(data)
        return kind, bytes(data)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Return the value. Whatever the bytes are, nothing is imported or called but what is allowed.

        Raises:
            InvalidValueError: a kind of encoding that is never written.
        """
        if data[0] not in _KINDS:
            raise inmem.InvalidValueError("stored value", f"has the encoding {data[0]!r:.40}, which is never read")
        return super().loads_typed(data)

    def _check_readable(self, data: bytes) -> None:
        refused: list[str] = []

        def look(code: int, content: bytes) -> None:
            inner: Any = ormsgpack.unpackb(content, ext_hook=look, option=ormsgpack.OPT_NON_STR_KEYS)
            if code in _NAMED and not self._is_allowed(code, inner):
                refused.append(f"{inner[0]}.{inner[1]}")

        ormsgpack.unpackb(data, ext_hook=look, option=ormsgpack.OPT_NON_STR_KEYS)
        if refused:
            raise inmem.InvalidValueError(
                "value", f"{refused[0]} would not be read back as itself: name it in `allowed_types`"
            )

    def _is_allowed(self, code: int, named: list[Any]) -> bool:
        """Return whether reading would rebuild what `named`, of module, name and arguments, stands for."""
        module, name = named[:2]
        if code == EXT_METHOD_SINGLE_ARG:
            return (module, name, named[3]) in SAFE_MSGPACK_METHODS
        allowed = self._allowed_msgpack_modules
        return (module, name) in SAFE_MSGPACK_TYPES or (isinstance(allowed, set) and (module, name) in allowed)


def _found(named: type) -> object:
    """Return what is found where reading would look for the class."""
    return getattr(sys.modules.get(named.__module__), named.__name__, None)
