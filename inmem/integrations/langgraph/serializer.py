"""The serializer of values: bytes are read back only as values of safe types or of types named beforehand.

LangGraph's own serializer writes msgpack in which an object is its module, its class and its arguments. By default it
imports and calls whatever the stored bytes name, with a warning. Here it runs in its strict mode: it constructs only
types on LangGraph's closed list of safe types (messages, dates, UUIDs, sets, …) or named by the application. Every
other object comes back as the plain data it was stored with. Neither pickle nor JSON with constructors is ever read.

Strict mode silently turns the application's own classes into dicts. Any mode does so with objects that cannot be
rebuilt from their stored arguments. So writing is checked, too: each object is rebuilt once when it is written, and
refused if the result is not of its class. Values that LangGraph stores as plain data come back as plain data: see
`StrictSerializer`.
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
"""The encodings that `dumps_typed` writes. The base class would also read JSON with constructors in it."""

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
"""The extension types that name a class or function to call."""


_LOST_ARRAYS: Final = "OV"
"""The kinds of numpy arrays that are refused: of objects (only addresses would be stored) and of unnamed records."""


def _packed(value: object) -> bytes:
    """Encode like LangGraph, but raise TypeError for lone surrogates, which LangGraph replaces with question marks."""
    return ormsgpack.packb(value, default=_parts, option=_option & ~ormsgpack.OPT_REPLACE_SURROGATES)


# LangGraph's own function, except that it encodes the parts of an object with `_packed`.
_parts: Final = FunctionType(_msgpack_default.__code__, {**vars(jsonplus), "_msgpack_enc": _packed})


class StrictSerializer(JsonPlusSerializer):
    """Reads only safe and allowed types, and refuses to write an object that it would not read back as itself.

    Values that LangGraph does not store as objects come back as plain data: a tuple as a list; an instance of a
    subclass of dict, list, str, int, bytes or of a numpy array as one of the base class; an exception as its repr; a
    dict key that is a date, an enumeration or a UUID as its text or value. A deque loses its `maxlen`; a datetime loses
    its fold and the name of its time zone, but keeps the offset.

    Args:
        allowed_types: further classes that may be constructed from stored bytes, as classes or (module, name).

    Raises:
        UsageError: one of the classes could not be found under its name when reading.
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
            InvalidValueError: a part of `obj` would not be read back as itself, or a str in it has a lone surrogate.
            TypeError: a part of `obj` has no encoding at all.
        """
        if obj is None or isinstance(obj, bytes | bytearray):
            kind, data = super().dumps_typed(obj)
            return kind, bytes(data)
        try:
            data = _packed(obj)
        except TypeError as error:
            if "surrogates" not in str(error):
                # The message hides an error inside an object. If that error is a lone surrogate, LangGraph's encoding
                # succeeds, with a question mark; otherwise this raises.
                super().dumps_typed(obj)
            raise inmem.InvalidValueError("value", "a str in it has a lone surrogate") from None
        self._check_readable(data)
        return "msgpack", data

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Return the value. Whatever the bytes are, only safe and allowed types are imported or called.

        Raises:
            InvalidValueError: the encoding is one that `dumps_typed` never writes.
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
        """Return whether reading would rebuild the object that `named` (module, name, arguments) describes."""
        module, name = named[:2]
        if code == EXT_METHOD_SINGLE_ARG:
            return (module, name, named[3]) in SAFE_MSGPACK_METHODS
        allowed = self._allowed_msgpack_modules
        return (module, name) in SAFE_MSGPACK_TYPES or (isinstance(allowed, set) and (module, name) in allowed)


def _found(named: type) -> object:
    """Return the object found under the class's module and name, as reading would find it."""
    return getattr(sys.modules.get(named.__module__), named.__name__, None)


def _is_one(value: object, module: str, name: str) -> bool:
    """Return whether a value that was read is an object of the named kind, not the plain data of one."""
    maker = getattr(sys.modules.get(module), name, None)
    # `re.compile` is the one name that is not a class.
    return type(value) is maker if isinstance(maker, type) else not isinstance(value, list | tuple | dict)
