"""How values become bytes, and why bytes can only become values of types that were named beforehand.

LangGraph's own serializer writes msgpack in which an object is its module, its class and its arguments. Left to its
default it imports what stored bytes name and calls it, with a warning. Here it runs in its strict mode: what it
constructs is on LangGraph's closed list of safe types (messages, dates, UUIDs, sets, …) or was named by the
application. Everything else comes back as the plain data it was stored with. Neither pickle nor JSON with constructors
is ever read.

The strict mode would also turn the application's own classes silently into dicts, and reading does that in any mode
to what cannot be built again from what it was stored as. So the other direction is checked, too: each object is built
once when it is written, and refused if it does not become one of its class. What LangGraph stores as plain data to
begin with comes back as that: see `StrictSerializer`.
"""

from __future__ import annotations

import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

import ormsgpack
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde._msgpack import (  # pyright: ignore[reportPrivateUsage]
    SAFE_MSGPACK_METHODS,
    SAFE_MSGPACK_TYPES,
)
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_METHOD_SINGLE_ARG,
    EXT_NUMPY_ARRAY,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
    _msgpack_default,  # pyright: ignore[reportPrivateUsage]
    _option,  # pyright: ignore[reportPrivateUsage]
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


_LOST_ARRAYS: Final = "OV"
"""The kinds of numpy arrays that hold objects, of which only addresses would be stored, and records without names."""


def _packed(value: object) -> bytes:
    """Encode as LangGraph does, but raise TypeError for lone surrogates, which it replaces by question marks."""
    return ormsgpack.packb(value, default=_parts, option=_option & ~ormsgpack.OPT_REPLACE_SURROGATES)


# LangGraph's own function, except that it calls ours for what an object consists of.
_parts: Final = FunctionType(_msgpack_default.__code__, {**vars(jsonplus), "_msgpack_enc": _packed})


class StrictSerializer(JsonPlusSerializer):
    """Reads only types that are known to be safe or were named, and writes no object that it would not read back.

    What is no object to LangGraph comes back as the plain data that it is stored as: a tuple as a list; a subclass of
    dict, list, str, int, bytes or of a numpy array as what it is a subclass of; an exception as its repr; a key of a
    dict that is a date, an enumeration or a UUID as its text or value. A deque has no `maxlen` any more, and a datetime
    neither its fold nor the name of its time zone, but its offset.

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
            InvalidValueError: something in `obj` would not be read back as what it is, or has a lone surrogate.
            TypeError: something in `obj` has no encoding at all.
        """
        if obj is None or isinstance(obj, bytes | bytearray):
            kind, data = super().dumps_typed(obj)
            return kind, bytes(data)
        try:
            data = _packed(obj)
        except TypeError as error:
            if "surrogates" not in str(error):
                # What is wrong within an object is not told; but if it is that, LangGraph has question marks for it.
                super().dumps_typed(obj)
            raise inmem.InvalidValueError("value", "a str in it has a lone surrogate") from None
        self._check_readable(data)
        return "msgpack", data

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
            if code == EXT_NUMPY_ARRAY:
                kind = inner[0].lstrip("<>|=")[:1]
                if kind in _LOST_ARRAYS or self._unpack_ext_hook(code, content) is None:
                    refused.append(f"a numpy array of the dtype {inner[0]!r} would not be read back as itself")
            elif code in _NAMED:
                named = f"{inner[0]}.{inner[1]} would not be read back as itself"
                if not self._is_allowed(code, inner):
                    refused.append(f"{named}: name it in `allowed_types`")
                elif not _is_one(self._unpack_ext_hook(code, content), *inner[:2]):
                    refused.append(f"{named}: what it consists of, with tuples as lists, does not make one")

        ormsgpack.unpackb(data, ext_hook=look, option=ormsgpack.OPT_NON_STR_KEYS)
        if refused:
            raise inmem.InvalidValueError("value", refused[0])

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


def _is_one(value: object, module: str, name: str) -> bool:
    """Return whether a value that was read is what the name stands for, rather than what was left of it."""
    maker = getattr(sys.modules.get(module), name, None)
    # `re.compile` is the one name that is not a class.
    return type(value) is maker if isinstance(maker, type) else not isinstance(value, list | tuple | dict)
