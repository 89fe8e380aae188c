"""Copying a container and checking the copy, so that what was checked is what is encoded; errors name their place."""

# A value has no known type until it has been checked.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from inmem.engine.errors import InvalidValueError, InvariantError
from inmem.engine.limits import INT_MAX, INT_MIN, VALUE_DEPTH_MAX
from inmem.engine.shown import class_name, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INT_REASON: Final = "int does not fit in 64 bits"

_STORABLE: Final = (type(None), bool, float, int, str, bytes, list, tuple, dict)
_PATH_KEY_CHARS_MAX: Final = 40
_INSTEAD: Final = {
    "datetime": "its isoformat()",
    "date": "its isoformat()",
    "time": "its isoformat()",
    "timedelta": "its total_seconds()",
    "set": "a list",
    "frozenset": "a list",
    "deque": "a list",
    "range": "a list",
    "generator": "a list",
    "dict_keys": "a list",
    "dict_values": "a list",
    "dict_items": "a list",
    "ndarray": "its tolist()",
    "bytearray": "its bytes()",
    "memoryview": "its bytes()",
    "UUID": "its str()",
    "Decimal": "its str()",
    "Fraction": "its str()",
    "PurePath": "its str()",
}
"""What to store instead of an object, by the name of its class or of a base class."""

# Return the real `__mro__` and `__dict__` of a class, which a metaclass cannot override.
_ancestors_of: Final[Callable[[type[Any]], tuple[type[Any], ...]]] = vars(type)["__mro__"].__get__
_namespace_of: Final[Callable[[type[Any]], Mapping[str, Any]]] = vars(type)["__dict__"].__get__

_Frame: TypeAlias = "tuple[Any, Any, int, str | int, _Frame | None]"
# The copy, its original, its depth, its key or index in the enclosing container, and that container's frame.


def checked_copy(value: Any, where: str, bytes_max: int) -> Any:
    """Return a deep copy of a list, tuple or dict, made of lists and dicts; only strings have not been checked.

    Args:
        value: a list, tuple or dict.
        where: the caller's name for the value; error paths start with it.
        bytes_max: largest encoding accepted.

    Raises:
        InvalidValueError: a part of the value cannot be stored; the error names the place.

    Containers are kept on an explicit stack and copied depth first, which finds a cycle before much has been copied.
    `room` is reduced by a lower bound of the encoded size, so a small value whose shared parts would encode to
    terabytes is refused early.
    """
    room = bytes_max - len(value)
    if room < 0:
        raise too_large(where, bytes_max)
    root: Any = value.copy() if type(value) is dict else [*value]
    pending: list[_Frame] = [(root, value, 1, "", None)]
    while pending:
        frame = pending.pop()
        part, depth = frame[0], frame[2]
        kind: type[Any] = type(part)
        is_dict = kind is dict
        for step, item in part.items() if is_dict else enumerate(part):
            if is_dict:
                if type(step) is not str:
                    raise InvalidValueError(_path(where, frame), f"dict key must be str, not {type_name(step)}")
                room -= len(step)
            kind = type(item)
            if kind is str or kind is bytes:
                room -= len(item)
            elif kind is int:
                if not INT_MIN <= item <= INT_MAX:
                    raise InvalidValueError(_path(where, frame, step), INT_REASON)
            elif kind is dict or kind is list or kind is tuple:
                if depth == VALUE_DEPTH_MAX:
                    raise _too_deep(where, frame, step, item)
                room -= len(item)
                if room < 0:
                    raise too_large(where, bytes_max)
                copy = item.copy() if kind is dict else [*item]
                part[step] = copy
                pending.append((copy, item, depth + 1, step, frame))
            elif item is not None and kind is not bool and kind is not float:
                raise InvalidValueError(_path(where, frame, step), refusal(kind))
    if room < 0:
        raise too_large(where, bytes_max)
    return root


def too_large(where: str, bytes_max: int) -> InvalidValueError:
    """Return the error for a value that would take more than `bytes_max` bytes."""
    return InvalidValueError(where, f"larger than {bytes_max} bytes when encoded")


def refusal(kind: type[Any]) -> str:
    """Return why no instance of `kind` can be stored, and for common types what to store instead."""
    name = class_name(kind)
    ancestors = _ancestors_of(kind)
    names = [class_name(each) for each in ancestors]
    if "Enum" in names:
        # Including an Enum that is also a str or an int: its value is what should be stored.
        return f"{name} cannot be stored; store its .value"
    for builtin in _STORABLE:
        if issubclass(kind, builtin):
            return f"{name} cannot be stored, only {builtin.__name__} itself"
    if any("__dataclass_fields__" in _namespace_of(each) for each in ancestors):
        return f"{name} cannot be stored; store its dataclasses.asdict()"
    instead = next((_INSTEAD[each] for each in names if each in _INSTEAD), None)
    return f"{name} cannot be stored{f'; store {instead}' if instead else ''}"


def _too_deep(where: str, frame: _Frame, step: str | int, item: Any) -> InvalidValueError:
    """Return the error for `item`, which is one level too deep; a cycle, if an object is on the path to it twice."""
    way: list[tuple[Any, str | int]] = [(item, step)]
    around: _Frame | None = frame
    while around is not None:
        way.append((around[1], around[3]))
        around = around[4]
    way.reverse()
    first_paths: dict[int, str] = {}
    path = where
    for level, (original, place) in enumerate(way):
        if level:
            path = _extended(path, place)
        if id(original) in first_paths:
            return InvalidValueError(path, f"cyclic, the same object as {first_paths[id(original)]}")
        first_paths[id(original)] = path
    return InvalidValueError(path, f"nested deeper than {VALUE_DEPTH_MAX} levels")


def _path(where: str, frame: _Frame, *steps: str | int) -> str:
    """Return the path of a frame's container, or of the entry at `steps` in it."""
    way = [*steps]
    around = frame
    while around[4] is not None:
        way.insert(0, around[3])
        around = around[4]
    path = where
    for step in way:
        path = _extended(path, step)
    return path


def _extended(path: str, step: str | int) -> str:
    if isinstance(step, int):
        return f"{path}[{step}]"
    if len(step) > _PATH_KEY_CHARS_MAX:
        step = step[:_PATH_KEY_CHARS_MAX] + "…"
    # Escape lone surrogates, so that the message can be printed.
    shown = json.dumps(step, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    return f"{path}[{shown}]"


def place_of(text: str, value: Any, where: str) -> str:
    """Return the path of the string `text`, an item or a key, in `value`, which is made of plain lists and dicts."""
    pending: list[tuple[str, Any]] = [(where, value)]
    while pending:
        path, part = pending.pop()
        kind: type[Any] = type(part)
        if kind is str:
            if part == text:
                return path
        elif kind is dict:
            if text in part:
                return _extended(path, text)
            pending.extend((_extended(path, key), item) for key, item in part.items())
        elif kind is list:
            pending.extend((_extended(path, index), item) for index, item in enumerate(part))
    raise InvariantError("the string that msgpack refused is not in the value")
